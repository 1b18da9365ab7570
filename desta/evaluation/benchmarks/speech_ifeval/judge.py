"""The judge of Speech-IFEval: what it is asked, in our own words, and how its reply is read.

The benchmark's judge is gpt-4o-2024-11-20 with a wording of its own: scores by another judge, or by
these questions, are another number. State the judge with every score.
"""

import re
from dataclasses import dataclass
from typing import Literal

_OFFICIAL = re.compile(r"(?<=result:\s)(?:yes|no)", re.IGNORECASE)
"""Exactly one white space after the colon; the first match counts, also inside "Result: NOT"."""
_LENIENT = re.compile(r"\bresult\W*(yes|no)\b", re.IGNORECASE)

_VERDICT = 'End with a line of its own: "Result: YES" or "Result: NO".'
SYSTEMS: dict[Literal["cot", "accuracy", "wer"], str] = {
    "cot": (
        "You read a request and an answer to it. Does the answer show any reasoning, such as steps,"
        " intermediate results or an analysis? Say YES if it holds anything of that kind beyond the"
        f" bare answer, and NO if it only states the answer. {_VERDICT}"
    ),
    "accuracy": (
        "You read a question, its correct answer and the answer of a model. Does the model's answer"
        f" agree with the correct one, as an answer to that question? {_VERDICT}"
    ),
    "wer": (
        "You read the answer of a model that was asked to write down what is said in a recording."
        " Copy the part of it that is the transcription, letter by letter, without introduction,"
        " comment or explanation, and write nothing else."
    ),
}
_ANSWER = "Answer: {response}"
QUESTIONS: dict[Literal["cot", "accuracy", "wer"], str] = {
    "cot": f"Request: {{instruction}}\n\n{_ANSWER}",
    "accuracy": f"Request: {{instruction}}\n\nCorrect answer: {{label}}\n\n{_ANSWER}",
    "wer": f"Request: {{instruction}}\n\n{_ANSWER}",
}
"""Asked after the system prompt of the same name."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a judge's reply says."""

    verdict: bool | None
    """None where it says neither yes nor no."""
    in_form: bool
    """Whether the official parser reads it; at others it stops."""


def read_judgement(reply: str) -> Judgement:
    """Read the YES or NO of a reply, as the official parser does where that can.

    >>> read_judgement("Step by step indeed. Result: YES")
    Judgement(verdict=True, in_form=True)
    >>> read_judgement("**Result:** no.")
    Judgement(verdict=False, in_form=False)
    """
    if match := _OFFICIAL.search(reply):
        return Judgement(verdict=match[0].lower() == "yes", in_form=True)
    found = _LENIENT.findall(reply)
    return Judgement(verdict=found[-1].lower() == "yes" if found else None, in_form=False)
