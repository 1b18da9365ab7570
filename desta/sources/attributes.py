"""Facts about a recording that do not depend on its corpus: duration and hash."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from desta import audio
from desta.audio import AudioError, AudioNote


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Facts about a recording."""

    duration: float
    """Seconds of decoded samples, rounded to a microsecond."""
    sha256: str
    """SHA-256 of the file, equal for copies under different names."""
    notes: tuple[AudioNote, ...] = ()
    """Notes about the recording."""


def measure_recording(path: Path) -> Measured:
    """Decode all of a recording and return the facts about it.

    Raises:
        AudioError: it cannot be read to its end.
    """
    duration, notes = audio.measure_audio(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:  # it was readable a moment ago
        raise AudioError(str(path), "vanished", fix="leave the corpus alone meanwhile") from error
    return Measured(duration=round(duration, 6), sha256=digest, notes=notes)
