"""Plan of rendered music: single notes, two notes, and tunes, their scores drawn by a seed."""

import random
from collections.abc import Sequence
from typing import Any

from desta.config import suggest
from desta.errors import ConfigError
from desta.sources.rendered.folder import Job, interleave
from desta.sources.rendered.fonts import SOUND_FONTS
from desta.sources.rendered.instruments import (
    FAMILIES,
    INSTRUMENTS,
    NUM_BANDS,
    PERCUSSION,
    Instrument,
)

TEMPOS = {"Slow": (50, 72), "Medium": (88, 112), "Fast": (140, 180)}
"""Tempo -> beats a minute that are drawn from."""
_MOST = 3  # instruments of a tune
_BEATS_A_BAR = 4
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))  # major, minor
_PITCHED = tuple(family for family in FAMILIES if family != PERCUSSION)
_CHORDAL = frozenset({
    *("Keyboard", "Tuned percussion", "Organ", "Free reed", "Guitar", "Strings", "Plucked strings"),
    *("Choir", "Synthesizer"),
})  # fmt: skip
"""Families that play chords; three notes of a flute would be three flutes."""
_RELEASE = 0.5  # seconds after the last note
_TUNE = (5.0, 9.0)  # seconds, drawn whatever the tempo is: length must not tell it
_BEAT_SHARE = 0.3  # of tunes of three instruments: the third is a drum


def plan_music(
    names: Sequence[str] = (),
    *,
    num_notes: int = 500,
    num_pairs: int = 340,
    num_tunes: int = 270,
    seed: int = 0,
) -> list[Job]:
    """Return the clips, fonts and kinds in turn.

    Args:
        names: sound fonts; none means all.
        num_notes: clips of one note for each font.
        num_pairs: clips of two notes, one after the other.
        num_tunes: clips of one to three instruments together at a tempo.
        seed: seed of the draw.

    Raises:
        ConfigError: there is no such sound font.
    """
    for name in names:
        if name not in SOUND_FONTS:
            raise ConfigError(
                f'there is no sound font "{name}"', fix=suggest(name, list(SOUND_FONTS))
            )
    kinds = (("note", num_notes, _note), ("pair", num_pairs, _pair), ("tune", num_tunes, _tune))
    return interleave(
        [
            [
                Job(
                    id=f"{font}/{kind}-{number:04}",
                    facts={
                        "font": font,
                        **make(random.Random(f"{seed}:{font}:{kind}:{number}"), number),
                    },
                )
                for number in range(count)
            ]
            for font in (dict.fromkeys(names) if names else SOUND_FONTS)
            for kind, count, make in kinds
        ]
    )


def _note(draw: random.Random, number: int) -> dict[str, Any]:
    """Return the score of a note; families take turns."""
    instrument = _draw_instrument(draw, number)
    length = round(draw.uniform(0.7, 2.4), 2)
    return _score([(instrument, [[0.0, length, _key(draw, instrument), _velocity(draw)]])])


def _pair(draw: random.Random, number: int) -> dict[str, Any]:
    """Return the score of two notes of one instrument, an interval up to an octave apart."""
    instrument = _draw_instrument(draw, number, pitched=True)
    interval = draw.randint(1, 12)
    low = draw.randint(instrument.lowest, instrument.highest - interval)
    keys = [low, low + interval]
    if number // len(_PITCHED) % 2:  # after a turn of the families, so that none tells it
        keys.reverse()
    length, pause = round(draw.uniform(0.5, 1.0), 2), round(draw.uniform(0.05, 0.2), 2)
    velocity = _velocity(draw)
    notes = [[n * (length + pause), length, key, velocity] for n, key in enumerate(keys)]
    return _score([(instrument, notes)])


def _tune(draw: random.Random, number: int) -> dict[str, Any]:
    """Return the score of a tune: a melody, and perhaps chords and a bass or a beat under it."""
    tempo = list(TEMPOS)[number % len(TEMPOS)]
    bpm = draw.randint(*TEMPOS[tempo])
    count = 1 + number // len(TEMPOS) % _MOST
    beat = 60 / bpm
    beats = max(_BEATS_A_BAR, round(draw.uniform(*_TUNE) / beat))
    scale, root = draw.choice(_SCALES), draw.randint(0, 11)
    chords = [0, *(draw.choice((0, 3, 4, 5)) for _ in range(beats // _BEATS_A_BAR))]
    band = _draw_band(draw, count)
    voices = [
        _melody(draw, beats),
        _chords(chords, full=len(band) > 1 and band[1].family in _CHORDAL),
        _steady(chords),
    ]
    parts = []
    for instrument, voice in zip(band, voices, strict=False):
        velocity = _velocity(draw)
        notes = [
            [
                start * beat,
                min(length, beats - start) * beat * 0.95,
                _place(root, scale, step, instrument),
                velocity,
            ]
            for start, length, step in voice
            if start < beats
        ]
        parts.append((instrument, notes))
    return {"bpm": bpm, **_score(parts)}


Step = tuple[float, float, int]
"""Start and length in beats, and a step of the scale."""


def _melody(draw: random.Random, beats: int) -> list[Step]:
    """Return a melody of quarters and eighths that walks up and down the scale."""
    found = []
    step = draw.choice((0, 2, 4))
    for beat in range(beats):
        halves = draw.random() < 0.3
        for part in range(2 if halves else 1):
            length = 0.5 if halves else 1.0
            found.append((beat + part * length, length, step + 7))
            step = min(7, max(-3, step + draw.choice((-2, -1, -1, 0, 1, 1, 2))))
    return found


def _chords(chords: Sequence[int], *, full: bool) -> list[Step]:
    """Return a chord of three notes, or its lowest note, on every half of a bar."""
    half = _BEATS_A_BAR / 2
    return [
        (bar * _BEATS_A_BAR + half * part, half, chord + third)
        for bar, chord in enumerate(chords)
        for part in range(2)
        for third in ((0, 2, 4) if full else (0,))
    ]


def _steady(chords: Sequence[int]) -> list[Step]:
    """Return the root of the chord on every beat."""
    return [
        (float(bar * _BEATS_A_BAR + beat), 0.9, chord - 7)
        for bar, chord in enumerate(chords)
        for beat in range(_BEATS_A_BAR)
    ]


def _place(root: int, scale: Sequence[int], step: int, instrument: Instrument) -> int:
    """Return the key of a step of a scale, moved by octaves into the range of an instrument."""
    if not instrument.pitched:
        return (instrument.lowest + instrument.highest) // 2
    key = 60 + root + 12 * (step // len(scale)) + scale[step % len(scale)]
    while key < instrument.lowest:
        key += 12
    while key > instrument.highest:
        key -= 12
    return key


def _draw_instrument(draw: random.Random, number: int, *, pitched: bool = False) -> Instrument:
    """Return an instrument; the families take turns, so that all are as frequent."""
    families = _PITCHED if pitched else FAMILIES
    return draw.choice(_of(families[number % len(families)]))


def _of(family: str) -> list[Instrument]:
    return [instrument for instrument in INSTRUMENTS.values() if instrument.family == family]


def _draw_band(draw: random.Random, count: int) -> list[Instrument]:
    """Return instruments of one band and of different families; the first has a pitch."""
    band = draw.randrange(NUM_BANDS)
    members = [instrument for instrument in INSTRUMENTS.values() if instrument.band == band]
    draw.shuffle(members)
    by_family = list({instrument.family: instrument for instrument in members}.values())
    pitched = [instrument for instrument in by_family if instrument.pitched]
    rest = [instrument for instrument in by_family if not instrument.pitched]
    chosen = pitched[: max(1, count)]
    if count == _MOST and rest and draw.random() < _BEAT_SHARE:
        chosen[-1] = rest[0]
    return chosen


def _key(draw: random.Random, instrument: Instrument) -> int:
    return draw.randint(instrument.lowest, instrument.highest)


def _velocity(draw: random.Random) -> int:
    return draw.randint(70, 115)


def _score(parts: Sequence[tuple[Instrument, Sequence[Sequence[float]]]]) -> dict[str, Any]:
    """Return instruments and their notes as facts of a clip."""
    end = max(start + length for _, notes in parts for start, length, _, _ in notes)
    return {
        "parts": [
            {
                "program": instrument.program,
                "notes": [
                    [round(start, 4), round(length, 4), *rest] for start, length, *rest in notes
                ],
            }
            for instrument, notes in parts
        ],
        "length": round(end + _RELEASE, 4),
    }
