"""Parsers of VoiceBench: what is read in an answer, or in a judge's reply about it.

The phrases that they look for, one after another, stand in
`assets/benchmarks/voicebench_phrases.json`. What follows from them is kept, odd as it is: " a." in
the middle of a sentence is the choice A, "b" as an answer about word order is 0, an answer that
begins with "not sure" is a no. Where nothing applies the official code draws at random; here the
result is None, and the caller decides.
"""

import functools
import importlib.resources
import json
import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

from desta.errors import DataError

CHOICES = ("A", "B", "C", "D")
REFERENCES = {"yes": 1, "no": 0, "(a)": 0, "(b)": 1}
"""Right answer of BIG-Bench-Hard, in lower case -> what `read_bbh` returns for it."""
_TURNS = ("<1>", "<2>", "<3>")
"""Marks that some models write before their answer."""
_TO_SPACE = str.maketrans(dict.fromkeys(':"-,.：', " "))
_RATING = re.compile(r"\[\[(\d+)\]\]")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def read_choice(response: str) -> str | None:
    """Return the letter, A to D, that an answer to a multiple-choice question gives."""
    text = without_turn(response.lower())
    for template in _phrases()["mcq"]:
        for choice in "abcd":
            if template.replace("[CHOICE]", choice) in text:
                return choice.upper()
    for choice in "abcd":
        if text == choice or text.startswith(tuple(choice + sign for sign in ".,:)")):
            return choice.upper()
    return None  # three more phrases of the official code can only hold where a template did


def read_bbh(response: str, id: str) -> int | None:
    """Return 1 for yes or (b), 0 for no or (a), as an answer to a BIG-Bench-Hard question gives.

    Args:
        response: what the model wrote.
        id: of the question; holds the name of its task.

    Raises:
        DataError: the id holds none of the four tasks.
    """
    text = response.lower()
    if text.endswith("<|user|>"):
        text = text.removesuffix("<|user|>").strip()
    text = without_turn(text).replace("<|turn_end|>", "").replace("**", " ")
    text = " ".join(text.translate(_TO_SPACE).split())
    for how, phrase, value in _phrases()["bbh"][bbh_task(id)]:
        if _applies(how, phrase, text):
            return int(value)
    return None


def bbh_task(id: str) -> str:
    """Return the task whose name an id holds.

    Raises:
        DataError: it holds none of the four.
    """
    for task in _phrases()["bbh"]:
        if task in id:
            return str(task)
    raise DataError(
        f"id {id!r} names none of the tasks {', '.join(_phrases()['bbh'])}",
        fix="give answers to the subset bbh, with their ids",
    )


def is_refusal(response: str) -> bool:
    """Return whether an answer refuses: it is empty, or holds one of 68 phrases."""
    text = response.lower()
    return not text.strip() or any(phrase.lower() in text for phrase in _phrases()["refusal"])


def read_rating(reply: Any) -> float | None:
    """Return the rating of a judge: the reply is a number, or holds `[[a whole number]]`."""
    try:
        rating = float(reply)
    except (TypeError, ValueError):
        match = _RATING.search(reply) if isinstance(reply, str) else None
        return float(match.group(1)) if match else None
    return rating if math.isfinite(rating) else None


def read_votes(replies: Sequence[str]) -> float:
    """Return 1 if most replies of a judge are "yes", in whatever case, and 0 if not.

    Among replies that occur equally often the official code takes any; the result is then the
    share of "yes" among them. A reply that says anything more, such as "Yes.", is no yes.

    Args:
        replies: at least one.
    """
    counts = Counter(reply.lower() for reply in replies)
    first = [reply for reply, count in counts.items() if count == max(counts.values())]
    return first.count("yes") / len(first)


def contains(reference: str, response: str) -> bool:
    """Return whether a response holds the reference, both without case, signs and double spaces."""
    right, said = (
        " ".join(text.lower().translate(_NO_PUNCTUATION).split()) for text in (reference, response)
    )
    return right in said


def without_turn(text: str) -> str:
    """Return an answer without the mark of a turn that it begins with."""
    return text[3:].strip() if text.startswith(_TURNS) else text


@functools.cache
def _phrases() -> dict[str, Any]:
    asset = importlib.resources.files("desta") / "assets/benchmarks/voicebench_phrases.json"
    phrases: dict[str, Any] = json.loads(asset.read_text(encoding="utf-8"))
    return phrases


def _applies(how: str, phrase: str, text: str) -> bool:
    match how:
        case "holds":
            return phrase in text
        case "matches":
            return re.search(phrase, text) is not None
        case "starts":
            return text.startswith(phrase)
        case "ends":
            return text.endswith(phrase)
        case _:
            return text == phrase
