"""Corpora of single words."""

from pathlib import Path

from corpora import TEST, VALIDATION, Corpus, record, write


def make_speech_commands(root: Path) -> None:
    for number, name in enumerate(("yes/a_nohash_0", "yes/b_nohash_0", "no/c_nohash_1"), start=1):
        record(root, f"{name}.wav", seconds=number)
    record(root, "no/d_nohash_0.wav", seconds=4)
    record(root, "_background_noise_/pink_noise.wav", seconds=5)
    write(root, "validation_list.txt", "yes/b_nohash_0.wav\n")
    write(root, "testing_list.txt", "no/c_nohash_1.wav\n")


CORPORA = {
    "speech-commands": Corpus(
        build=make_speech_commands,
        needed=(
            "validation_list.txt",
            "testing_list.txt",
        ),
        left={"a minute of noise, not a word": 1, TEST: 1, VALIDATION: 1},
    ),
}
