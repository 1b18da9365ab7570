"""Score published outputs of Speech-IFEval, compare item by item, and write the page about it.

    python benchmarks/speech_ifeval_agreement.py ../shared/data/speech_ifeval [--root .]

The folder holds outputs with the official flags, as the benchmark's repository publishes them
(`rule_eval@*`, `llm_eval@*`, `tmp@*`, gzipped or not), and `parse_handmade.json`, replies and texts
with what the official code makes of them. The time is printed, not written: it is this machine's.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desta.evaluation.speech_ifeval import Score, aggregate, score_item
from desta.evaluation.speech_ifeval_files import Answered, read_answered
from desta.evaluation.speech_ifeval_judge import read_judgement
from desta.evaluation.wer import normalise_basically

PAGE = Path("docs/evaluation/speech_ifeval.md")
TABLE = "<!-- table: written by benchmarks/speech_ifeval_agreement.py -->\n"
OUTPUTS = "meta-llama--Meta-Llama-3-8B-Instruct"

FIGURES: dict[str, dict[str, str]] = {
    "rule_eval@closed_ended_questions": {
        "closed-ended, followed": "871/933",
        "group change_case": "0.972",
        "group json_format": "0.908",
        "group startend": "0.915",
        "group wrapping": "0.9356",
    },
    "rule_eval@creative_writing": {
        "creative writing, followed": "375/400",
        "group bullet_lists": "0.95",
        "group keywords": "0.94",
        "group length_constraints": "0.93",
    },
    "llm_eval@chain-of-thought": {"chain of thought, reasons": "140/200"},
    "tmp@closed_ended_questions-woprompt": {
        "word error rate": "0.07909875359539789",
        "accuracy Speech_emotion_recognition": "0.67",
        "accuracy Gender_recognition": "0.86",
        "accuracy MMAU": "0.489489",
    },
}
"""What the official scorers print for these outputs (accuracy of MMAU: 0.4894894894894895)."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A line of the table."""

    file: str
    name: str
    expected: str
    ours: str


def cases(data: Path) -> Iterator[Case]:
    """Score everything, and yield the official figure beside ours."""
    for stem, figures in FIGURES.items():
        answered = read_answered(next((data / OUTPUTS).glob(f"{stem}.jsonl*")))
        scores = [score_item(a.item, a.output, a.judge_reply) for a in answered]
        for name, expected in figures.items():
            ours = _figure(name, scores)
            yield Case(file=stem, name=name, expected=expected, ours=ours)
        flags = [(_published(a), s.followed) for a, s in zip(answered, scores, strict=True)]
        if known := [(theirs, ours) for theirs, ours in flags if theirs is not None]:
            agree = sum(theirs == ours for theirs, ours in known)
            yield Case(
                file=stem,
                name="items with the same flag",
                expected=f"{len(known)}/{len(known)}",
                ours=f"{agree}/{len(known)}",
            )
    handmade = json.loads((data / "parse_handmade.json").read_text(encoding="utf-8"))
    for name, same in (
        ("judge replies read alike", [_same_reply(c) for c in handmade["extract_result"]]),
        (
            "texts normalised alike",
            [normalise_basically(c["text"]) == c["official"] for c in handmade["normalize_text"]],
        ),
    ):
        total = len(same)
        yield Case(
            file="parse_handmade",
            name=name,
            expected=f"{total}/{total}",
            ours=f"{sum(same)}/{total}",
        )


def table(rows: list[Case]) -> str:
    """Render the table of the page."""
    lines = ["| file | case | expected | ours |", "|---|---|---|---|"]
    lines += [f"| `{row.file}` | {row.name} | {row.expected} | {row.ours} |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the table; exit code 1 where anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--root", type=Path, default=Path())
    options = parser.parse_args()
    start = time.perf_counter()
    rows = list(cases(options.data))
    print(f"read and scored in {time.perf_counter() - start:.2f} s, libraries loaded meanwhile")
    page = options.root / PAGE
    text = page.read_text(encoding="utf-8").partition(TABLE)[0]
    page.write_text(text + TABLE + "\n" + table(rows), encoding="utf-8")
    print(table(rows))
    return int(any(row.expected != row.ours for row in rows))


def _published(answered: Answered) -> tuple[bool, ...] | None:
    if "follow_instruction_list" in answered.published:
        return tuple(answered.published["follow_instruction_list"])
    if answered.item.metric == "cot" and "correct" in answered.published:
        return (answered.published["correct"],)
    return None


def _figure(name: str, scores: list[Score]) -> str:
    (section,) = aggregate(scores)["sections"].values()
    kind, _, what = name.partition(" ")
    if name.endswith(("followed", "reasons")):
        return f"{sum(all(s.followed) for s in scores)}/{len(scores)}"
    if name == "word error rate":
        return repr(section["wer"])
    shares: dict[str, Any] = section["groups" if kind == "group" else "accuracy"]
    return f"{shares[what]['value']:.{4 if kind == 'group' else 6}f}".rstrip("0")


def _same_reply(case: dict[str, Any]) -> bool:
    judgement = read_judgement(case["text"])
    official = case["official"]
    if official is None:
        return not judgement.in_form
    return judgement.in_form and judgement.verdict == (official.lower() == "yes")


if __name__ == "__main__":
    sys.exit(main())
