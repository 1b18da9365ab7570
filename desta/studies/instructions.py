"""Questions about held-out clips with an instruction about the form of the answer.

They are written in the layout of Speech-IFEval, in our own words, about clips that are here; its
rules decide. So `desta eval speech_ifeval` asks and scores them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from desta.evaluation.base import Item
from desta.evaluation.benchmarks.speech_ifeval.files import FILES
from desta.files import write_atomic
from desta.records import END_AUDIO, START_AUDIO
from desta.studies.pairs import draw_lot

SECTION = "closed_ended"
"""The section of Speech-IFEval whose layout they have."""
DATASET = "held-out clips"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An instruction, and the id and arguments by which it is checked."""

    id: str
    words: str
    arguments: dict[str, Any] = field(default_factory=dict)


RULES = (
    Rule(id="change_case:english_lowercase", words="Write in lower case letters only."),
    Rule(id="change_case:english_capital", words="Write in capital letters only."),
    Rule(id="startend:quotation", words="Put your whole answer in double quotation marks."),
    Rule(
        id="startend:end_checker",
        words='End your answer with the words "That is all."',
        arguments={"end_phrase": "That is all."},
    ),
    Rule(
        id="keywords:existence",
        words='Use the word "recording" in your answer.',
        arguments={"keywords": ["recording"]},
    ),
    Rule(
        id="keywords:forbidden_words",
        words='Do not use the word "the".',
        arguments={"forbidden_words": ["the"]},
    ),
    Rule(
        id="length_constraints:number_words",
        words="Answer in fewer than 5 words.",
        arguments={"num_words": 5, "relation": "less than"},
    ),
    Rule(
        id="detectable_format:number_bullet_lists",
        words='Answer in exactly 2 bullet points, each a line that begins with "* ".',
        arguments={"num_bullets": 2},
    ),
    Rule(id="detectable_format:json_format", words="Write the whole answer as JSON."),
    Rule(
        id="detectable_format:title",
        words="Begin with a title in double angle brackets, such as <<a title>>.",
    ),
)


def write_questions(items: Sequence[Item], count: int, folder: Path) -> None:
    """Write questions about clips, each with one rule, as files of Speech-IFEval.

    Args:
        items: questions about held-out clips, with descriptions; those about two are left out.
        count: questions to draw by their ids; every rule as often as the others, but for one.
        folder: for the files of the benchmark; those of its other sections are empty.
    """
    alone = [item for item in items if len(item.clips) == 1]  # the layout has no second clip
    drawn = sorted(alone, key=lambda item: draw_lot(item.id))[:count]
    records = [_record(item, RULES[n % len(RULES)]) for n, item in enumerate(drawn)]
    folder.mkdir(parents=True, exist_ok=True)
    for section, stem in FILES.items():
        lines = [json.dumps(r, ensure_ascii=False) + "\n" for r in records if section == SECTION]
        write_atomic(folder / f"{stem}.jsonl", "".join(lines).encode())


def _record(item: Item, rule: Rule) -> dict[str, Any]:
    told = item.described[-1].content.partition(START_AUDIO)[2].partition(END_AUDIO)[0]
    return {
        "audio_filepath": str(Path(item.clips[0].audio).resolve()),
        "textual_audio": told,
        "instruction": f"{item.question} {rule.words}",
        "dataset": DATASET,
        "metric": "accuracy",
        "label": item.target,
        "instruction_id_list": [rule.id],
        "kwargs": [rule.arguments],
    }
