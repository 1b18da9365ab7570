"""Errors and notes about recordings, with countable reasons."""

from dataclasses import dataclass

from desta.errors import DataError


class AudioError(DataError):
    """A recording cannot be used; `reason` holds no names or numbers, so that it can be counted."""

    def __init__(self, name: str, reason: str, *, fix: str) -> None:
        super().__init__(f"{name} {reason}", fix=fix, reason=reason)


class TooLongError(AudioError):
    """A recording exceeds a limit."""


class UnknownFormatError(AudioError):
    """A file is not a recording in a supported format."""


@dataclass(frozen=True)
class AudioNote:
    """Remark on a recording that is used all the same."""

    reason: str
    """Fixed text by which notes are counted."""
    message: str
    """Sentence with the name of the recording and its numbers."""


def no_bytes(name: str) -> AudioError:
    """Return the error for an empty file."""
    return AudioError(name, "is an empty file", fix="record or download it again")


def no_samples(name: str) -> AudioError:
    """Return the error for a recording without samples."""
    return AudioError(name, "holds no samples", fix="record or download it again")


def cut_off(name: str) -> AudioError:
    """Return the error for a truncated recording."""
    return AudioError(
        name, "ends before the length its header states", fix="copy or download it again"
    )


def too_long(name: str, max_seconds: float) -> AudioError:
    """Return the error for a recording that exceeds a limit."""
    return TooLongError(
        name,
        f"lasts longer than the {max_seconds:g} s that are taken",
        fix="cut it into parts, or raise max_seconds",
    )


def too_many(name: str, max_samples: float) -> AudioError:
    """Return the error for a recording with too many samples."""
    return TooLongError(
        name,
        f"has more than the {max_samples:g} samples that are taken",
        fix="resample it to 48 kHz, or cut it into parts",
    )


def unknown_format(name: str) -> AudioError:
    """Return the error for a file that is not a recording in a supported format."""
    return UnknownFormatError(
        name,
        "is not a recording in a format that can be read",
        fix="convert it to wav, flac, ogg, mp3 or m4a",
    )
