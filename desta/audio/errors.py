"""Errors and notes about recordings."""

from dataclasses import dataclass

from desta.errors import DataError


class AudioError(DataError):
    """A recording cannot be used; `reason` is the same for every recording it befalls."""

    def __init__(self, name: str, reason: str, *, fix: str) -> None:
        super().__init__(f"{name} {reason}", fix=fix, reason=reason)


@dataclass(frozen=True)
class AudioNote:
    """Something about a recording that is used all the same."""

    reason: str
    """The same words for every recording it befalls, by which it can be counted."""
    message: str
    """With the name of the recording and its numbers."""


def no_bytes(name: str) -> AudioError:
    """Return the refusal of a file of no bytes."""
    return AudioError(name, "is an empty file", fix="record or download it again")


def no_samples(name: str) -> AudioError:
    """Return the refusal of a recording of no length."""
    return AudioError(name, "holds no samples", fix="record or download it again")


def cut_off(name: str) -> AudioError:
    """Return the refusal of a recording whose end is missing."""
    return AudioError(
        name, "ends before the length its header states", fix="copy or download it again"
    )


def too_long(name: str, max_seconds: float) -> AudioError:
    """Return the refusal of a recording that is longer than somebody wants to hear."""
    return AudioError(
        name,
        f"lasts longer than the {max_seconds:g} s that are taken",
        fix="cut it into parts, or raise max_seconds",
    )


def unknown_format(name: str) -> AudioError:
    """Return the refusal of a file that nobody takes for a recording."""
    return AudioError(
        name,
        "is not a recording in a format that can be read",
        fix="convert it to wav, flac, ogg, mp3 or m4a",
    )
