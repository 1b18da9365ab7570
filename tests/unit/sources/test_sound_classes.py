"""Sound classes that recordings of several packages share."""

from desta.sources.sound.classes import CLASSES, sound_attributes


def test_a_sound_is_of_one_class_or_none() -> None:
    sounds = [sound for members in CLASSES.values() for sound in members]

    assert len(sounds) == len(set(sounds))
    assert sound_attributes("Lark") == {"Sound": "Lark", "Sound class": "Bird"}
    assert sound_attributes("Whip") == {"Sound": "Whip"}
