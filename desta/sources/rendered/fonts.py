"""Music: a score -> samples, by `tinysoundfont` over General-MIDI sound fonts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE
from desta.errors import DataError, need
from desta.sources.rendered.parts import SONIVOX, find_part

_RATE = 44_100  # Hz
_PEAK = 0.5
_FLUSH = 0.2  # seconds in which notes of the clip before fade out
_FADE = 0.02  # seconds


@dataclass(frozen=True, kw_only=True)
class SoundFont:
    """A sound font."""

    name: str
    package: str | None
    """Debian package; None if `fetch_parts` fetches it."""
    path: str
    recordings: str
    """Name of its recordings, the same for fonts that share them."""
    mistuned: tuple[int, ...] = ()
    """Programs that sound half a semitone or more beside the keys."""


SOUND_FONTS = {
    font.name: font
    for font in (
        SoundFont(
            name="fluidr3",
            package="fluid-soundfont-gm",
            path="usr/share/sounds/sf2/FluidR3_GM.sf2",
            recordings="fluid",
        ),
        SoundFont(
            name="musescore",  # its licence says that it grew out of Fluid R3
            package="musescore-general-soundfont-small",
            path="usr/share/sounds/sf3/MuseScore_General_Lite.sf3",
            recordings="fluid",
        ),
        SoundFont(
            name="sonivox",
            package=None,
            path=SONIVOX,
            recordings="sonivox",
            mistuned=(14,),  # tubular bells, -9.5 semitones
        ),
        SoundFont(
            name="timgm6mb",
            package="timgm6mb-soundfont",
            path="usr/share/sounds/sf2/TimGM6mb.sf2",
            recordings="timgm6mb",
            mistuned=(21, 78),  # accordion -0.5, whistle -9 semitones
        ),
    )
}
"""Name -> sound font."""


class Synthesizer:
    """Synthesizer of scores; a sound font is loaded at its first clip."""

    def __init__(self, parts: Path, names: Sequence[str] = ()) -> None:
        """Check that everything is there; nothing is loaded yet.

        Args:
            parts: folder of `desta sources fetch rendered`.
            names: sound fonts; none means all.

        Raises:
            MissingExtraError: the extra `render` is not installed.
            DataError: a sound font has not been fetched.
        """
        need("tinysoundfont", extra="render", to="render music")
        self._paths = {
            name: find_part(parts, SOUND_FONTS[name].path) for name in names or SOUND_FONTS
        }

    def __call__(self, facts: Mapping[str, Any]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Return the samples of a clip, (T,), mono at 16 kHz.

        Args:
            facts: `font`, `parts` (each a `program` and its `notes`: start and length in seconds,
                MIDI number, velocity) and `length` in seconds.

        Raises:
            DataError: the font lacks a program.
        """
        synth, font = _load(self._paths[facts["font"]])
        events = []
        for channel, part in enumerate(facts["parts"]):
            if synth.sfpreset_name(font, 0, part["program"]) is None:
                raise DataError(
                    f"{facts['font']} has no program {part['program']}",
                    fix="leave it out",
                    reason="the sound font lacks its instrument",
                )
            synth.program_select(channel, font, 0, part["program"])
            for start, length, key, velocity in part["notes"]:
                events.append((start, 1, channel, key, velocity))
                events.append((start + length, 0, channel, key, 0))
        stereo = _play(synth, sorted(events), facts["length"])
        mono = soxr.resample(stereo.mean(axis=1), _RATE, SAMPLE_RATE).astype(np.float32)
        fade = round(_FADE * SAMPLE_RATE)
        mono[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
        peak = float(np.abs(mono).max())
        return mono * (_PEAK / peak if peak > 0 else 1.0), {}


@cache
def _load(path: Path) -> tuple[Any, int]:
    """Return a synthesizer with a sound font, and the number of the font in it."""
    synth = need("tinysoundfont", extra="render", to="render music").Synth(samplerate=_RATE)
    return synth, synth.sfload(str(path))


def _play(
    synth: Any, events: list[tuple[float, int, int, int, int]], length: float
) -> NDArray[np.float32]:
    """Return the samples of a score, (T, 2), at the rate of the synthesizer."""
    synth.sounds_off()
    synth.generate_simple(round(_FLUSH * _RATE))
    done, pieces = 0, []
    for time, on, channel, key, velocity in [*events, (length, 0, 0, 0, 0)]:
        until = round(min(time, length) * _RATE)
        if until > done:
            piece = np.frombuffer(synth.generate_simple(until - done), np.float32)
            pieces.append(piece.reshape(-1, 2))
            done = until
        if on:
            synth.noteon(channel, key, velocity)
        else:
            synth.noteoff(channel, key)
    return np.concatenate(pieces)
