"""Instruments of General MIDI that can be named by ear, with their families and usual ranges."""

from dataclasses import dataclass

NUM_BANDS = 8


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """A program of General MIDI."""

    program: int
    """From 0."""
    name: str
    family: str
    lowest: int
    """MIDI number of the lowest note that is played; 60 is middle C."""
    highest: int

    @property
    def pitched(self) -> bool:
        """Whether its notes have a sure pitch."""
        return self.family != PERCUSSION

    @property
    def band(self) -> int:
        """Band that the instrument plays in: its place among the eight of its kind.

        Instruments of a band come from different families. Only those of one band play together,
        so that a split by instruments cuts no tune in two.
        """
        return self.program % NUM_BANDS


PERCUSSION = "Percussion"

_FAMILIES: dict[str, tuple[tuple[str, tuple[int, ...], int, int], ...]] = {
    "Keyboard": (
        ("Piano", (0, 1, 2, 3), 36, 88),
        ("Electric piano", (4, 5), 40, 84),
        ("Harpsichord", (6,), 41, 84),
        ("Clavinet", (7,), 40, 84),
    ),
    "Tuned percussion": (
        ("Celesta", (8,), 60, 96),
        ("Glockenspiel", (9,), 72, 96),
        ("Music box", (10,), 60, 91),
        ("Vibraphone", (11,), 53, 84),
        ("Marimba", (12,), 48, 84),
        ("Xylophone", (13,), 60, 91),
        ("Tubular bells", (14,), 60, 77),
        ("Steel drums", (114,), 52, 79),
    ),
    "Organ": (("Organ", (16, 17, 18, 19, 20), 36, 84),),
    "Free reed": (("Accordion", (21, 23), 48, 84), ("Harmonica", (22,), 60, 84)),
    "Guitar": (("Guitar", (24, 25), 40, 79), ("Electric guitar", (26, 27, 28, 29, 30), 40, 79)),
    "Bass": (
        ("Double bass", (32, 43), 28, 50),
        ("Bass guitar", (33, 34, 35, 36, 37), 28, 50),
        ("Bass synthesizer", (38, 39), 28, 52),
    ),
    "Strings": (
        ("Violin", (40, 110), 55, 91),
        ("Viola", (41,), 48, 79),
        ("Cello", (42,), 36, 67),
        ("Strings", (44, 45, 48, 49), 40, 84),
    ),
    "Plucked strings": (
        ("Harp", (46,), 40, 88),
        ("Sitar", (104,), 48, 77),
        ("Banjo", (105,), 48, 79),
        ("Shamisen", (106,), 50, 79),
        ("Koto", (107,), 48, 84),
    ),
    "Choir": (("Choir", (52, 53), 48, 77),),
    "Brass": (
        ("Trumpet", (56, 59), 55, 82),
        ("Trombone", (57,), 40, 70),
        ("Tuba", (58,), 29, 55),
        ("Horn", (60,), 41, 72),
        ("Brass section", (61,), 43, 79),
    ),
    "Woodwind": (
        ("Saxophone", (64, 65, 66, 67), 48, 77),
        ("Oboe", (68,), 58, 86),
        ("English horn", (69,), 52, 79),
        ("Bassoon", (70,), 36, 65),
        ("Clarinet", (71,), 50, 84),
        ("Piccolo", (72,), 74, 98),
        ("Flute", (73,), 60, 93),
        ("Recorder", (74,), 60, 86),
        ("Pan flute", (75,), 60, 86),
        ("Bottle", (76,), 55, 79),
        ("Shakuhachi", (77,), 55, 84),
        ("Whistle", (78,), 65, 91),
        ("Ocarina", (79,), 60, 84),
        ("Bagpipes", (109,), 55, 79),
        ("Shehnai", (111,), 55, 79),
    ),
    "Synthesizer": (("Synthesizer", (80, 81, 84, 87, 89, 90, 94, 95), 43, 84),),
    PERCUSSION: (
        ("Timpani", (47,), 40, 55),
        ("Agogo", (113,), 60, 72),
        ("Wood block", (115,), 60, 76),
        ("Taiko", (116,), 48, 60),
        ("Tom drum", (117,), 45, 60),
    ),
}

INSTRUMENTS = {
    program: Instrument(program=program, name=name, family=family, lowest=lowest, highest=highest)
    for family, rows in _FAMILIES.items()
    for name, programs, lowest, highest in rows
    for program in programs
}
"""Program -> instrument; what is left out (pads, effects, blends) has no name that all agree on."""
FAMILIES = tuple(_FAMILIES)
