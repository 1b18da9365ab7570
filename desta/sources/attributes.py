"""What is measured on the recording itself, whatever the corpus says."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from desta import audio
from desta.audio import AudioError, AudioNote


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Facts about a recording."""

    duration: float
    """Seconds, from the decoded samples, to a microsecond."""
    sha256: str
    """Of the bytes of the file: equal for copies under different names."""
    notes: tuple[AudioNote, ...] = ()
    """What is to be told of it."""


def measure_recording(path: Path) -> Measured:
    """Open a recording, decode all of it and say what it is.

    Raises:
        AudioError: it cannot be read to its end.
    """
    duration, notes = audio.measure_audio(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:  # it could be read a moment ago
        raise AudioError(str(path), "vanished", fix="leave the corpus alone meanwhile") from error
    return Measured(duration=round(duration, 6), sha256=digest, notes=notes)
