"""Corpora of sounds with labels: AudioSet, ESC-50, FSD50K, VocalSound."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from desta.errors import DataError
from desta.sources.base import (
    NOT_WHOLE,
    OTHER_TEST,
    Metadata,
    Skipped,
    Source,
    find_file,
    find_folder,
    of_split,
    readable,
)
from desta.sources.files import visible
from desta.sources.glossary import JOINED, gender_name
from desta.sources.tables import load_json, read_cells, read_rows

_AUDIOSET_PARTS = {
    "bal_train": "balanced_train_segments.csv",
    "unbal_train": "unbalanced_train_segments.csv",
    "eval": "eval_segments.csv",
}
"""Folder below `audio` -> its table of segments."""
_AUDIOCAPS = "audiocaps/test.csv"
_AUDIOSET_TABLES = "fetch the tables from AudioSet's download page"

_ESC50_CLASSES = (
    "Animal",
    "Natural soundscape or water",
    "Human, not speech",
    "Interior or domestic",
    "Exterior or urban",
)
"""Ten targets each, in the order of the targets."""
_ESC50_NAME = re.compile(r"\d-(?P<recording>\d+)-[A-Z]-\d+\.wav")

_VOCAL_NAME = re.compile(r"(?P<sex>[fm])\d+_\d+_(?P<sound>[a-z]+)")  # f0003_0_cough
_VOCAL_SOUNDS = {
    "cough": "Cough",
    "laughter": "Laughter",
    "sigh": "Sigh",
    "sneeze": "Sneeze",
    "sniff": "Sniff",
    "throatclearing": "Throat clearing",
}
_VOCAL_SPLITS = {"val.json": "validation", "te.json": "test"}


def read_audioset(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield ten-second clips of videos with all their labels.

    Google gives away the tables; the sound is `audio/{bal_train,unbal_train,eval}/VIDEO.flac` (or
    another format). A part without a folder is not looked at. Videos vanish, so that a listed
    segment without a file is no damage. Videos of AudioCaps' test split are left out.
    """
    folders = {
        part: root / "audio" / part for part in _AUDIOSET_PARTS if (root / "audio" / part).is_dir()
    }
    if not folders.keys() - {"eval"}:
        find_folder(root, "audio/bal_train", source="audioset", bring="unpack its sound there")
    names = _audioset_classes(root)
    bring = "copy the folder `dataset` of cdjkim/audiocaps there, as `audiocaps`"
    captioned = find_file(root, _AUDIOCAPS, source="audioset", bring=bring)
    tested = {row["youtube_id"] for row in read_rows(captioned, "youtube_id")}
    for part, folder in folders.items():
        path = find_file(root, _AUDIOSET_PARTS[part], source="audioset", bring=_AUDIOSET_TABLES)
        files = {file.stem: file for file in visible(folder, "*")}
        for cells in read_cells(path):
            if cells[0].startswith("#"):
                continue
            video, id = cells[0], f"{part}/{cells[0]}"
            if len(cells) < 4:
                yield Skipped(id=id, reason=NOT_WHOLE, broken=True)
            elif part == "eval":
                yield of_split(id, "evaluation")
            elif video in tested:
                yield Skipped(id=id, reason=OTHER_TEST)
            elif video not in files:
                yield Skipped(id=id, reason="the video is gone or was not fetched")
            else:
                heard = [names.get(label, label) for label in cells[3].split(",")]
                yield Metadata(
                    id=id,
                    audio=files[video].relative_to(root).as_posix(),
                    attributes={"Sound": JOINED.join(heard)},
                    split="train",
                )


def _audioset_classes(root: Path) -> Mapping[str, str]:
    path = find_file(root, "class_labels_indices.csv", source="audioset", bring=_AUDIOSET_TABLES)
    return {row["mid"]: row["display_name"] for row in read_rows(path, "mid", "display_name")}


def read_esc50(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield environmental sounds of five seconds: fifty kinds in five classes.

    The corpus has folds, no training split. `1-100032-A-0.wav` is of fold 1 and take A of recording
    100032 of Freesound, all of whose takes stay in one split.
    """
    path = find_file(root, "meta/esc50.csv", source="esc50", bring="unpack ESC-50-master.zip")
    for row in read_rows(path, "filename", "target", "category"):
        if not re.fullmatch(r"[1-4]?[0-9]", row["target"]):
            yield Skipped(id=Path(row["filename"]).stem, reason=NOT_WHOLE, broken=True)
            continue
        name = _ESC50_NAME.fullmatch(row["filename"])
        yield Metadata(
            id=Path(row["filename"]).stem,
            audio=f"audio/{row['filename']}",
            attributes={
                "Sound": readable(row["category"]),
                "Sound class": _ESC50_CLASSES[int(row["target"]) // 10],
            },
            group=f"esc50/{name['recording']}" if name else None,
        )


def read_fsd50k(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield sounds from Freesound with labels of AudioSet's ontology, the most exact first.

    Labels are spread upwards in the ontology: a gurgle is also water.
    """
    bring = "unpack FSD50K.ground_truth.zip and the parts of FSD50K.dev_audio.zip"
    dev = find_file(root, "FSD50K.ground_truth/dev.csv", source="fsd50k", bring=bring)
    find_folder(root, "FSD50K.dev_audio", source="fsd50k", bring=bring)
    for row in read_rows(dev, "fname", "labels", "split"):
        if row["split"] != "train":
            yield of_split(row["fname"], "validation")
            continue
        yield Metadata(
            id=row["fname"],
            audio=f"FSD50K.dev_audio/{row['fname']}.wav",
            attributes={"Sound": JOINED.join(map(readable, row["labels"].split(",")))},
            split="train",
        )
    evaluation = dev.with_name("eval.csv")
    if evaluation.is_file():
        for row in read_rows(evaluation, "fname"):
            yield of_split(row["fname"], "evaluation")


def read_vocalsound(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield coughs, laughs, sighs, sneezes, sniffs and cleared throats: `f0003_0_cough.wav`.

    Sex, speaker and kind are in the file name; which files are for training, in `datafiles`.
    """
    bring = "unpack vs_release_16k.zip"
    audio = "audio_44k" if (root / "audio_44k").is_dir() else "audio_16k"
    find_folder(root, audio, source="vocalsound", bring=bring)
    training = find_file(root, "datafiles/tr.json", source="vocalsound", bring=bring)
    for name in _vocal_names(training):
        match = _VOCAL_NAME.fullmatch(name)
        if match is None or match["sound"] not in _VOCAL_SOUNDS:
            yield Skipped(id=name, reason="the file name does not tell what is heard")
            continue
        yield Metadata(
            id=name,
            audio=f"{audio}/{name}.wav",
            attributes={
                "Sound": _VOCAL_SOUNDS[match["sound"]],
                "Gender": gender_name(match["sex"]),
            },
            split="train",
        )
    for file, split in _VOCAL_SPLITS.items():
        if (other := training.with_name(file)).is_file():
            yield from (of_split(name, split) for name in _vocal_names(other))


def _vocal_names(path: Path) -> list[str]:
    """Return the names of the recordings, without the authors' own folder."""
    try:
        return [Path(entry["wav"]).stem for entry in load_json(path)["data"]]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"vocalsound: {path} does not list recordings", fix="unpack vs_release_16k.zip again"
        ) from error


LABELLED_SOURCES = (
    Source(
        name="audioset",
        title="AudioSet, ten-second clips of videos in 527 classes",
        domains=("sound",),
        licence="tables CC-BY-4.0; the sound belongs to the videos",
        obtain="tables from Google's AudioSet page; the sound has to be taken from the videos, or "
        "from a mirror such as agkphysics/AudioSet on the Hugging Face Hub (its tar files); the "
        "folder `dataset` of cdjkim/audiocaps, for what not to train on",
        layout="confirmed",
        cited="agkphysics/AudioSet on the Hub, README.md and AudioSet.py (folders); tables as read "
        "by Labbeti/aac-datasets, functional/audiocaps.py",
        read=read_audioset,
    ),
    Source(
        name="esc50",
        title="ESC-50, environmental sounds of fifty kinds",
        domains=("sound",),
        licence="CC-BY-NC-3.0 (the ESC-10 part CC-BY)",
        obtain="one zip file from karolpiczak/ESC-50 on GitHub",
        layout="confirmed",
        cited="karolpiczak/ESC-50, README.md",
        read=read_esc50,
    ),
    Source(
        name="fsd50k",
        title="FSD50K, sounds from Freesound in 200 classes",
        domains=("sound",),
        licence="CC-BY-4.0 as a whole; each clip CC0, CC-BY, CC-BY-NC or CC Sampling+",
        obtain="Zenodo, record 4060432",
        layout="confirmed",
        cited="soundata/soundata, soundata/datasets/fsd50k.py",
        read=read_fsd50k,
    ),
    Source(
        name="vocalsound",
        title="VocalSound, laughter, sighs, coughs, sneezes, sniffs and cleared throats",
        domains=("sound",),
        licence="see its agreement",
        obtain="one zip file linked from YuanGongND/vocalsound on GitHub",
        layout="confirmed",
        cited="YuanGongND/vocalsound, README.md and src/prep_data.py",
        read=read_vocalsound,
    ),
)
