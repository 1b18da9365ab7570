"""Corpora of single words: Speech Commands."""

from collections.abc import Iterator
from pathlib import Path

from desta.sources.base import Metadata, Skipped, Source, find_file, of_split, relative_id, spoken
from desta.sources.files import read_fields, visible

_NOISE = "_background_noise_"
_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


def read_speech_commands(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield single English words: `yes/0a7c2a8d_nohash_0.wav`.

    `validation_list.txt` and `testing_list.txt` name what is not for training.
    """
    held_out = {}
    for split, name in _LISTS.items():
        bring = "unpack speech_commands_v0.02.tar.gz, or v0.01"
        listed = find_file(root, name, source="speech-commands", bring=bring)
        held_out.update({fields[0]: split for fields in read_fields(listed)})
    for path in visible(root, "*/*.wav"):
        id, word = relative_id(path, root), path.parent.name
        if word == _NOISE:
            yield Skipped(id=id, reason="a minute of noise, not a word")
        elif f"{id}.wav" in held_out:
            yield of_split(id, held_out[f"{id}.wav"])
        else:
            yield Metadata(
                id=id,
                audio=f"{id}.wav",
                segments=spoken(word),
                attributes={"Command": word},
                split="train",
            )


SPOKEN_COMMAND_SOURCES = (
    Source(
        name="speech-commands",
        title="Speech Commands: 35 English words by thousands of people",
        domains=("speech",),
        licence="CC BY 4.0",
        obtain="download.tensorflow.org/data/speech_commands_v0.02.tar.gz, free",
        layout="confirmed",
        cited="lhotse recipes/speechcommands.py",
        read=read_speech_commands,
    ),
)
