"""Sound classes that recordings of several packages share."""

from collections import Counter

from desta.sources.sound import games, learning
from desta.sources.sound.classes import CLASSES, sound_attributes

STAMPS = (
    *("Bassoon", "Beaver", "Bee", "Blackbird", "Bull", "Caribou", "Cello", "Chimpanzee", "Cow"),
    *("Crash cymbal", "Crow", "Cuckoo", "Deer", "Doe", "Dog", "Dolphin", "Drake", "Drum kit"),
    *("Duck", "Floor tom", "Frog", "Gander", "Goat", "Gorilla", "Grasshopper", "Hammer", "Hen"),
    *("Heron", "Hornet", "Horse", "Lamb", "Lark", "Mallet", "Mosquito", "Mountain goat", "Mouse"),
    *("Orca", "Owl", "Penguin", "Pig", "Quetzal", "Ram", "Rhea", "Rooster", "Saw", "Seagull"),
    *("Sheep", "Squirrel", "Thunder", "Toucan", "Turkey", "Vacuum cleaner", "Violin", "Vulture"),
    *("Washing machine", "Whale"),
)
"""Sounds of Tux Paint's stamps, which its own texts name."""
VOICES = ("Cough", "Cry of pain", "Laughter")
"""What each of Hedgewars' voices does."""


def test_a_sound_is_of_one_class_or_none() -> None:
    sounds = [sound for members in CLASSES.values() for sound in members]

    assert len(sounds) == len(set(sounds))
    assert sound_attributes("Lark") == {"Sound": "Lark", "Sound class": "Bird"}
    assert sound_attributes("Whip") == {"Sound": "Whip"}


def test_a_class_has_three_independent_recordings() -> None:
    recordings = Counter(STAMPS) + Counter({name: 3 for name in VOICES})
    for module in (games, learning):
        for table in vars(module).values():  # those of names, a row a recording or a series
            if isinstance(table, tuple) and isinstance(table[0], tuple):
                recordings += Counter(heard for _, heard in table)

    few = {
        name: count
        for name, sounds in CLASSES.items()
        if (count := sum(recordings[sound] for sound in sounds)) < 3
    }
    assert few == {}
    assert {sound for sounds in CLASSES.values() for sound in sounds} <= {*recordings}
