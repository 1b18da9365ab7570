"""Corpora of sounds with captions: AudioCaps, Clotho, WavCaps.

A caption is written as `Heard: ...`: an attribute named "caption" would invite the backbone to talk
about a text, and such responses are dropped.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
)
from desta.sources.files import visible
from desta.sources.tables import load_json, read_rows

_AUDIOCAPS_TABLES = "its tables are in the folder `dataset` of cdjkim/audiocaps"
_AUDIOCAPS_COLUMNS = ("audiocap_id", "youtube_id", "start_time", "caption")
_CLOTHO = "unpack clotho_audio_development.7z beside clotho_captions_development.csv"
_CLOTHO_CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))

_WAVCAPS_BRING = "fetch the folder json_files of cvssp/WavCaps"
_WAVCAPS_PARTS = {
    "AudioSet_SL": "as_final.json",
    "BBC_Sound_Effects": "bbc_final.json",
    "FreeSound": "fsd_final.json",
    "SoundBible": "sb_final.json",
}
"""Folder of the sound, and of the captions -> file of captions."""
_WAVCAPS_BLACKLISTS = (
    "json_files/blacklist/blacklist_exclude_test_ac.json",
    "json_files/blacklist/blacklist_exclude_ub8k_esc50_vggsound.json",
)
"""Recordings in test splits of AudioCaps, Clotho and VGGSound, in UrbanSound8K or in ESC-50."""
_WAVCAPS_LISTED = {"AudioSet_SL": "AudioSet", "FreeSound": "FreeSound"}
_FSD50K_EVAL = "FSD50K.ground_truth/eval.csv"


def read_audiocaps(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield ten-second clips of videos with one caption: `audio_32000Hz/train/VIDEO_START.flac`.

    The sound is fetched by the user, and videos vanish: a listed clip without a file is no damage.
    """
    table = find_file(root, "train.csv", source="audiocaps", bring=_AUDIOCAPS_TABLES)
    rates = sorted(root.glob("audio_*Hz/train"))
    if not rates:
        find_folder(
            root,
            "audio_32000Hz/train",
            source="audiocaps",
            bring="the package aac-datasets fetches it",
        )
    files = {file.stem: file for file in visible(rates[0], "*")}
    for row in read_rows(table, *_AUDIOCAPS_COLUMNS):
        file = files.get(f"{row['youtube_id']}_{row['start_time']}")
        if file is None:
            yield Skipped(id=row["audiocap_id"], reason="the video is gone or was not fetched")
            continue
        yield Metadata(
            id=row["audiocap_id"],
            audio=file.relative_to(root).as_posix(),
            attributes=_heard(row["caption"]),
            split="train",
        )
    for name, split in {"val.csv": "validation", "test.csv": "test"}.items():
        if (root / name).is_file():
            yield from (
                of_split(row["audiocap_id"], split) for row in read_rows(root / name, "audiocap_id")
            )


def read_clotho(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield sounds of 15 to 30 seconds, a clip for each of their five captions.

    Tables and folders `development`, `evaluation` lie together, or the tables in
    `clotho_csv_files` and the folders in `clotho_audio_files`.
    """
    tables = "clotho_csv_files/" if (root / "clotho_csv_files").is_dir() else ""
    sounds = "clotho_audio_files/" if (root / "clotho_audio_files").is_dir() else ""
    development = find_file(
        root, f"{tables}clotho_captions_development.csv", source="clotho", bring=_CLOTHO
    )
    find_folder(root, f"{sounds}development", source="clotho", bring=_CLOTHO)
    for row in read_rows(development, "file_name", *_CLOTHO_CAPTIONS):
        for number, column in enumerate(_CLOTHO_CAPTIONS, start=1):
            yield Metadata(
                id=f"development/{row['file_name']}/{number}",
                audio=f"{sounds}development/{row['file_name']}",
                attributes=_heard(row[column]),
                split="train",
            )
    for split in ("validation", "evaluation"):
        table = development.with_name(f"clotho_captions_{split}.csv")
        if table.is_file():
            for row in read_rows(table, "file_name"):
                yield of_split(f"{split}/{row['file_name']}", split)


def read_wavcaps(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield sounds of four collections with captions that a language model wrote.

    `json_files/FreeSound/fsd_final.json` and, anywhere below `Audio/FreeSound` (the archives hold
    folders of their own), `ID.flac`; a collection without sound is not looked at. All of it is for
    training, but for what other corpora keep for a test: the corpus lists most of that itself;
    the numbers of FSD50K's evaluation split, which are FreeSound's, come from its own table.
    """
    parts = [part for part in _WAVCAPS_PARTS if (root / "Audio" / part).is_dir()]
    if not parts:
        find_folder(
            root,
            "Audio/FreeSound",
            source="wavcaps",
            bring="unpack Zip_files/FreeSound.zip and its parts there",
        )
    tested = _wavcaps_tested(root, parts)
    for part in parts:
        inside = f"json_files/{part}/{_WAVCAPS_PARTS[part]}"
        path = find_file(root, inside, source="wavcaps", bring=_WAVCAPS_BRING)
        files = {f.stem: f.relative_to(root) for f in visible(root / "Audio" / part, "**/*.flac")}
        for number, entry in enumerate(_wavcaps_entries(path)):
            try:
                name, caption = str(entry["id"]).removesuffix(".wav"), str(entry["caption"])
            except (KeyError, TypeError):
                yield Skipped(id=f"{part}/entry-{number}", reason=NOT_WHOLE, broken=True)
                continue
            id = f"{part}/{name}"
            if name in tested.get(part, ()):
                yield Skipped(id=id, reason=OTHER_TEST)
                continue
            yield Metadata(
                id=id,
                audio=files.get(Path(id).name, Path(f"Audio/{id}.flac")).as_posix(),
                attributes=_heard(caption),
                split="train",
            )


def _wavcaps_tested(root: Path, parts: Sequence[str]) -> dict[str, set[str]]:
    """Return collection -> names of recordings in test splits of other corpora."""
    tested: dict[str, set[str]] = {part: set() for part in _WAVCAPS_LISTED}
    for inside in _WAVCAPS_BLACKLISTS:
        path = find_file(root, inside, source="wavcaps", bring=_WAVCAPS_BRING)
        listed = load_json(path)
        for part, key in _WAVCAPS_LISTED.items():
            try:
                tested[part] |= {str(name).removesuffix(".wav") for name in listed[key]}
            except (KeyError, TypeError) as error:
                raise DataError(
                    f"wavcaps: {path} does not list recordings", fix=_WAVCAPS_BRING
                ) from error
    if "FreeSound" in parts:
        bring = "unpack FSD50K.ground_truth.zip of Zenodo record 4060432 there"
        table = find_file(root, _FSD50K_EVAL, source="wavcaps", bring=bring)
        tested["FreeSound"] |= {row["fname"] for row in read_rows(table, "fname")}
    return tested


def _wavcaps_entries(path: Path) -> list[Any]:
    captions = load_json(path)
    if isinstance(captions, dict) and isinstance(captions.get("data"), list):
        return captions["data"]
    raise DataError(f"wavcaps: {path} does not hold captions", fix=_WAVCAPS_BRING)


def _heard(caption: str) -> dict[str, str]:
    return {"Heard": caption.strip().removesuffix(".")}  # it stands inside a list


CAPTIONED_SOURCES = (
    Source(
        name="audiocaps",
        title="AudioCaps, ten-second clips of AudioSet with captions by people",
        domains=("sound",),
        licence="captions for academic purposes only; the sound belongs to the videos",
        obtain="tables from cdjkim/audiocaps on GitHub; the sound has to be taken from the videos, "
        "as the package aac-datasets does",
        layout="confirmed",
        cited="cdjkim/audiocaps, dataset/README.md (tables); Labbeti/aac-datasets, "
        "functional/audiocaps.py (sound)",
        read=read_audiocaps,
    ),
    Source(
        name="clotho",
        title="Clotho, sounds from Freesound with five captions each",
        domains=("sound",),
        licence="captions: Tampere University's terms; each sound has its own Creative Commons "
        "licence",
        obtain="Zenodo, record 3490684 and its later versions",
        layout="confirmed",
        cited="Labbeti/aac-datasets, functional/clotho.py; xieh97/dcase2022-audio-retrieval, "
        "scripts/__init__.py; lukewys/dcase_2020_T6, create_dataset/README.md",
        read=read_clotho,
    ),
    Source(
        name="wavcaps",
        title="WavCaps, 400,000 sounds with captions by a language model",
        domains=("sound",),
        licence="academic uses only; sounds as FreeSound, BBC Sound Effects and SoundBible say",
        obtain="cvssp/WavCaps on the Hugging Face Hub: json_files and Zip_files; for its part "
        "FreeSound also FSD50K.ground_truth.zip of FSD50K",
        layout="confirmed",
        cited="cvssp/WavCaps on the Hub, README.md; Labbeti/aac-datasets, functional/wavcaps.py "
        "(folder Audio); XinhaoMei/WavCaps, data/json_files",
        read=read_wavcaps,
    ),
)
