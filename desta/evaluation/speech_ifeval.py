"""Speech-IFEval (Lu et al., arXiv 2505.19037): does a model that hears still follow instructions?

    closed_ended       933 questions with a rule about the form of the answer
    creative_writing   400 tasks with a rule
    chain_of_thought   200 questions "step by step": a judge says whether the answer reasons
    unconstrained      the 933 without their rules, to see what the rules cost (optional)

    IFrate = mean of the first three rates
    forgetting rate = relative change of the IFrate against the bare backbone

A judge also says whether answers to closed-ended and unconstrained questions are right
(`speech_ifeval_judge.py`). Only the rules are scored here, and what the judge replied.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from huggingface_hub import snapshot_download

from desta.errors import ConfigError, DataError
from desta.evaluation.instructions.following import (
    Instruction,
    follow_strictly,
    read_instructions,
)
from desta.evaluation.items import read_published_rows
from desta.evaluation.metrics import Estimate, average, mean
from desta.evaluation.speech_ifeval_judge import read_judgement
from desta.evaluation.wer import (
    WordErrors,
    count_word_errors,
    normalise_basically,
    word_error_rate,
)
from desta.records import LOCATOR, AudioRef, Message, read_jsonl

Section = Literal["closed_ended", "creative_writing", "chain_of_thought", "unconstrained"]
Metric = Literal["wer", "accuracy", "open", "cot"]

SYSTEM_PROMPT = "Follow the given instructions."
MAX_NEW_TOKENS = 2048
"""Greedy decoding, as published."""

FILES: dict[Section, str] = {
    "closed_ended": "closed_ended_questions",
    "creative_writing": "creative_writing",
    "chain_of_thought": "chain-of-thought",
    "unconstrained": "closed_ended_questions-woprompt",
}
NUM_ITEMS: dict[Section, int] = {
    "closed_ended": 933,
    "creative_writing": 400,
    "chain_of_thought": 200,
    "unconstrained": 933,
}
RATED: tuple[Section, ...] = ("closed_ended", "creative_writing", "chain_of_thought")
"""What the IFrate is the mean of."""

GROUPS = {
    "change_case:english_capital": "change_case",
    "change_case:english_lowercase": "change_case",
    "combination:repeat_prompt": "startend",
    "detectable_format:json_format": "json_format",
    "detectable_format:number_bullet_lists": "bullet_lists",
    "detectable_format:title": "wrapping",
    "keywords:existence": "keywords",
    "keywords:forbidden_words": "keywords",
    "length_constraints:number_paragraphs": "length_constraints",
    "length_constraints:number_sentences": "length_constraints",
    "length_constraints:number_words": "length_constraints",
    "startend:end_checker": "startend",
    "startend:quotation": "wrapping",
}
"""The table of the paper: instructions that are reported together."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FIX = "take the files of the benchmark as they were published"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question about one clip."""

    id: str
    """Section and line, from 0: `closed_ended/17`. Published ids are not kept: some files of
    outputs count them from 0, some from 1."""
    section: Section
    audio: str
    """Path below the folder of audio."""
    description: str
    """What the clip holds, in words; what a text-only model is told instead of hearing it. Empty
    in outputs that do not repeat it."""
    instruction: str
    dataset: str
    """Where the clip is from; questions without an open answer are reported by it."""
    metric: Metric
    instructions: tuple[Instruction, ...] = ()
    label: str | None = None
    """The right answer, or the transcription; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An item and what was answered; a line of a published file of outputs."""

    item: Item
    output: str
    judge_reply: str | None
    published: Mapping[str, Any]
    """What the file says of the score: `follow_all_instructions`, `correct`, ... as it stands."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What is to be said of one answer; None where nobody has judged, or understood the judge."""

    id: str
    section: Section
    dataset: str
    instructions: tuple[str, ...]
    followed: tuple[bool, ...]
    """By instruction, strictly; of a chain of thought one flag, the judge's."""
    correct: bool | None
    word_errors: WordErrors | None
    judge_in_form: bool | None
    """Whether the official parser could have read the judge's reply; it stops at others."""
    undecided: str | None
    """Why there is no score."""


def load_items(source: str | Path, *, revision: str | None = None) -> list[Item]:
    """Read the question files, plain or gzipped.

    Args:
        source: the folder that holds them, or holds `eval_data`; or the id of a Hub data set.
        revision: for the Hub: the commit, 40 hexadecimal digits.

    Raises:
        ConfigError: the Hub is asked without a commit.
        DataError: a file is missing, or is not in the published layout.
    """
    folder = Path(source) if Path(source).is_dir() else _fetch(str(source), revision)
    if (folder / "eval_data").is_dir():
        folder = folder / "eval_data"
    items = []
    for section, stem in FILES.items():
        found = [p for p in (folder / f"{stem}.jsonl", folder / f"{stem}.jsonl.gz") if p.is_file()]
        if found:
            items += [_item(section, i, r, found[0]) for i, r in enumerate(read_jsonl(found[0]))]
        elif section in RATED:
            raise DataError(f"{folder / stem}.jsonl is missing", fix=_FIX)
    if untold := [item.id for item in items if not item.description]:
        raise DataError(f"{folder}: {untold[0]} has no `textual_audio`", fix=_FIX)
    _check_distinct(items, folder)
    return items


def read_answered(path: Path) -> list[Answered]:
    """Read a published file of outputs: `rule_eval@*.jsonl`, `llm_eval@*.jsonl`, gzipped or not.

    Raises:
        DataError: the file is empty, not in the published layout, or asks a question twice.
    """
    answered = []
    for line, record in enumerate(read_published_rows(path)):
        item = _item(_section(record, path), line, record, path)
        reply = record.get("eval_response")
        if not isinstance(record.get("response"), str) or not isinstance(reply, str | None):
            raise DataError(f"{path}: {item.id} has no `response`, or it is no text", fix=_FIX)
        flags = ("follow_instruction_list", "follow_all_instructions", "correct")
        answered.append(
            Answered(
                item=item,
                output=record["response"],
                judge_reply=reply,
                published={name: record[name] for name in flags if name in record},
            )
        )
    _check_distinct([a.item for a in answered], path)
    return answered


def read_item(id: str, record: Mapping[str, Any]) -> Item:
    """Return the item of a published record.

    Args:
        id: section and line, `closed_ended/17`.
        record: what that line of the section's file holds.

    Raises:
        DataError: it is not in the published layout.
    """
    section = next(name for name in get_args(Section) if id.startswith(f"{name}/"))
    return _item(section, int(id.removeprefix(f"{section}/")), record, Path(FILES[section]))


def audio_messages(item: Item, root: str | Path = "") -> tuple[Message, ...]:
    """Return what is asked of a model that hears; the audio lies below `root`."""
    return (
        Message(role="system", content=SYSTEM_PROMPT),
        Message(
            role="user",
            content=f"{LOCATOR}\n\n{item.instruction}",
            audios=(AudioRef(audio=str(Path(root, item.audio))),),
        ),
    )


def text_messages(item: Item) -> tuple[Message, ...]:
    """Return what is asked of a text-only model, which reads the description of the clip."""
    return (
        Message(role="system", content=SYSTEM_PROMPT),
        Message(role="user", content=f"Speech Input: {item.description}\n\n{item.instruction}"),
    )


def score_item(item: Item, output: str, judge_reply: str | None = None) -> Score:
    """Score one answer.

    `judge_reply` is a yes or no for chains of thought and for accuracy, the bare transcription for
    word error rate, and None if nobody judged. Rules need none.

    Raises:
        DataError: an instruction is unknown or broken, or a transcription has no label.
    """
    followed = follow_strictly(item.instructions, output, "speech_ifeval", seed=item.id)
    correct: bool | None = None
    in_form: bool | None = None
    word_errors = None
    undecided = None
    if item.metric == "wer":
        if judge_reply is not None:
            if item.label is None:
                raise DataError(f"{item.id} has no label to compare with", fix=_FIX)
            word_errors = count_word_errors(
                normalise_basically(item.label), normalise_basically(judge_reply)
            )
    elif item.metric != "open" and judge_reply is not None:
        judgement = read_judgement(judge_reply)
        in_form = judgement.in_form
        correct = judgement.verdict
        undecided = "the judge's reply says neither yes nor no" if correct is None else None
    if item.metric == "cot":
        followed = () if correct is None else (correct,)
        correct = None
    if judge_reply is None and not item.instructions:
        undecided = "nobody judged"
    return Score(
        id=item.id,
        section=item.section,
        dataset=item.dataset,
        instructions=tuple(each.id for each in item.instructions),
        followed=followed,
        correct=correct,
        word_errors=word_errors,
        judge_in_form=in_form,
        undecided=undecided,
    )


def aggregate(scores: Sequence[Score]) -> dict[str, Any]:
    """Return the official figures as a JSON object, each share with its standard error.

    sections: per section `num_items`, `num_missing` (of the published number), `rate` (of the
        answers that are decided), `groups`, `instructions`; `wer` and `accuracy` by data set where
        a judge was asked; `undecided`: [{reason, count, example}]; `num_judge_out_of_form`
    ifrate: null unless every question of the three sections is known to be followed or not
    """
    by_section: dict[Section, list[Score]] = defaultdict(list)
    for score in scores:
        by_section[score.section].append(score)
    sections = {s: _aggregate_section(s, by_section[s]) for s in get_args(Section) if by_section[s]}
    whole = [
        by_section[section]
        for section in RATED
        if sum(bool(s.followed) for s in by_section[section]) == NUM_ITEMS[section]
    ]
    known = len(whole) == len(RATED)
    ifrate = average([_rate(each) for each in whole]).to_json() if known else None
    return {"sections": sections, "ifrate": ifrate}


def forgetting_rate(ifrate: float, reference: float) -> float:
    """Return how much of the bare backbone's IFrate is lost (below 0) or won.

    >>> round(forgetting_rate(0.8923, 0.9253), 4)
    -0.0357

    Raises:
        ConfigError: the reference is not above 0.
    """
    if reference <= 0:
        raise ConfigError(
            f"an IFrate of {reference} cannot be forgotten",
            fix="give the IFrate of the bare backbone, a share above 0",
        )
    return (ifrate - reference) / reference


def _aggregate_section(section: Section, scores: Sequence[Score]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "num_items": len(scores),
        "num_missing": max(0, NUM_ITEMS[section] - len(scores)),
    }
    if any(s.followed for s in scores):
        result["rate"] = _rate(scores).to_json()
    pairs = [(n, f) for s in scores for n, f in zip(s.instructions, s.followed, strict=False)]
    if pairs:
        result["groups"] = _shares((GROUPS.get(name, "other"), flag) for name, flag in pairs)
        result["instructions"] = _shares(pairs)
    if errors := [s.word_errors for s in scores if s.word_errors is not None]:
        result["wer"] = word_error_rate(errors)
    if judged := [(s.dataset, s.correct) for s in scores if s.correct is not None]:
        result["accuracy"] = _shares(judged)
    reasons = Counter(s.undecided for s in scores if s.undecided is not None)
    result["undecided"] = [
        {
            "reason": reason,
            "count": count,
            "example": next(s.id for s in scores if s.undecided == reason),
        }
        for reason, count in reasons.items()
    ]
    result["num_judge_out_of_form"] = sum(s.judge_in_form is False for s in scores)
    return result


def _rate(scores: Sequence[Score]) -> Estimate:
    return mean([all(s.followed) for s in scores if s.followed])


def _shares(pairs: Iterable[tuple[str, bool]]) -> dict[str, dict[str, float]]:
    flags: dict[str, list[bool]] = defaultdict(list)
    for name, flag in pairs:
        flags[name].append(flag)
    return {name: mean(flags[name]).to_json() for name in sorted(flags)}


def _section(record: Mapping[str, Any], path: Path) -> Section:
    """Tell which file of questions a line of outputs answers."""
    metric = record.get("metric")
    if metric in ("wer", "accuracy"):
        return "closed_ended" if "instruction_id_list" in record else "unconstrained"
    if metric == "open":
        return "creative_writing"
    if metric == "cot":
        return "chain_of_thought"
    raise DataError(f"{path}: metric {metric!r} is none of Speech-IFEval's", fix=_FIX)


def _item(section: Section, line: int, record: Mapping[str, Any], path: Path) -> Item:
    description = record.get("textual_audio", record.get("seed_transcript", ""))
    texts = [record.get(k) for k in ("audio_filepath", "instruction", "dataset", "metric")]
    label = record.get("label")
    if (
        not all(isinstance(text, str) for text in [description, *texts])
        or not isinstance(label, str | None)
        or record["metric"] not in get_args(Metric)
    ):
        raise DataError(f"{path}: question {line} is not in the published layout", fix=_FIX)
    rules = section in ("closed_ended", "creative_writing")
    return Item(
        id=f"{section}/{line}",
        section=section,
        audio=record["audio_filepath"],
        description=str(description),
        instruction=record["instruction"],
        dataset=record["dataset"],
        metric=record["metric"],
        instructions=read_instructions(record) if rules else (),
        label=label,
    )


def _check_distinct(items: Sequence[Item], where: Path) -> None:
    counts = Counter((item.section, item.audio, item.instruction) for item in items)
    twice = next((item for item in items if counts[_key(item)] > 1), None)
    if twice is not None:
        raise DataError(f"{where}: {twice.id} is asked more than once", fix="delete the copies")


def _key(item: Item) -> tuple[Section, str, str]:
    return item.section, item.audio, item.instruction


def _fetch(name: str, revision: str | None) -> Path:
    if name.count("/") != 1 or Path(name).is_absolute():
        raise DataError(f"{name} is not a folder", fix="give the folder of the question files")
    if revision is None or not _COMMIT.fullmatch(revision):
        raise ConfigError(
            f"{name}: revision {revision!r} is not a commit",
            fix="give the 40 digits of the commit, so that a score can be had again",
        )
    patterns = [f"*{stem}.jsonl*" for stem in FILES.values()]
    try:
        return Path(
            snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=patterns)
        )
    except (OSError, ValueError) as error:
        raise DataError(
            f'data set "{name}" is neither a folder nor reachable on the Hub',
            fix="give the folder of the question files, or connect to the Hub",
        ) from error
