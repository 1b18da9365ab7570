"""Checks of the rows of a data set: faults that training skips, and oddities."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from desta.records import END_AUDIO, LOCATOR, START_AUDIO, find_departure, find_flaw

_BLOCK = f"{START_AUDIO}{LOCATOR}{END_AUDIO}"

_STATED = re.compile(r"\bDuration: ?(\d+(?:\.\d+)?)")
_ENDS = re.compile(r"-\s?(?:(\d+):)?(\d+):(\d+)\]")
_LANGUAGE = re.compile(r"[(,] ?Language: ?([^,()]+)", re.IGNORECASE)

Row = Mapping[str, Any]


def find_row_fault(row: Row) -> str | None:
    """Return the countable reason why training leaves a row out; None if it is usable."""
    return find_departure(row) or find_flaw(row) or _locator_fault(row)


def find_oddities(row: Row) -> Iterator[str]:
    """Yield the countable oddities of a usable row."""
    for name in ("id", "dataset", "seed_description", "prompt"):
        if not (row.get(name) or "").strip():
            yield f"has no {name}"
    messages = row["messages"]
    clips = clips_of(row)
    if not clips:
        yield "has no clip"
    if any(clip.get("text") is None for clip in clips):
        yield "has a clip without a transcription (one space says that nothing is spoken)"
    asked = [message["content"] for message in messages if message["role"] == "user"]
    if not asked:
        yield "has no message of a user"
    elif (row.get("prompt") or "") not in asked[-1]:
        yield "has a prompt that its last question does not hold"
    if messages[-1]["role"] == "assistant":
        yield "ends with an answer, which its response would follow"
    heard = [message["content"] for message in messages if message.get("audios")]
    if any(_loose_tags(content) for content in heard):
        yield "has <start_audio> or <end_audio> away from its locator"
    if any(LOCATOR in content.replace(_BLOCK, "") for content in heard):
        yield "has a locator without <start_audio> and <end_audio>, which stand there in use"


def clips_of(row: Row) -> list[Mapping[str, str | None]]:
    """Return the clips of a usable row, in order."""
    return [clip for message in row["messages"] for clip in message.get("audios") or ()]


def descriptions_of(row: Row) -> list[str]:
    """Return the descriptions of a usable row: one line per clip, or a single description.

    Their number may differ from that of the clips.
    """
    description = row.get("seed_description") or ""
    return description.strip().split("\n") if len(clips_of(row)) > 1 else [description]


def seconds_stated(description: str) -> float | None:
    """Return the seconds of a clip according to its seed description; None if not stated.

    >>> seconds_stated("[00:00-00:02] Hi (Duration: 1.6s)")
    1.6
    >>> seconds_stated("[00:00-01:02] (Sneeze)")
    62.0
    """
    if match := _STATED.search(description):
        return float(match[1])
    ends = [
        int(hours or 0) * 3600.0 + int(minutes) * 60 + int(seconds)
        for hours, minutes, seconds in _ENDS.findall(description)
    ]
    return max(ends, default=None)


def language_stated(description: str) -> str | None:
    """Return the language in a seed description; None if not stated.

    >>> language_stated("[00:00-00:02] Bonjour (First Language: Thai, Language: French)")
    'French'
    """
    match = _LANGUAGE.search(description)
    return match[1].strip() if match else None


def _locator_fault(row: Row) -> str | None:
    for message in row["messages"]:
        if message["content"].count(LOCATOR) != len(message.get("audios") or ()):
            return "has more or fewer locators than clips"
    return None


def _loose_tags(content: str) -> bool:
    """Return whether there are tags outside of complete blocks."""
    rest = content.replace(_BLOCK, "")
    return START_AUDIO in rest or END_AUDIO in rest
