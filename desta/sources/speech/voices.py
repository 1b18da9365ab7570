"""Corpora of many speakers.

The language is stated where it is not English throughout.
"""

from collections.abc import Iterator
from pathlib import Path

from desta.sources.base import (
    Metadata,
    Skipped,
    Source,
    find_file,
    find_folder,
    of_split,
    relative_id,
    spoken,
)
from desta.sources.files import list_files
from desta.sources.glossary import age_name, gender_name
from desta.sources.hub import HubRow, hub_reader
from desta.sources.languages import language_name
from desta.sources.tables import read_rows

_COMMON_VOICE_BRING = "unpack the archive of that language"
_COMMON_VOICE_LANGUAGES = ("en", "zh-CN", "zh-TW")
_COMMON_VOICE_OTHERS = {"dev": "validation", "test": "test"}

_VOXCELEB_BRING = "fetch vox1_meta.csv, join the parts of vox1_dev_wav.zip and unpack it"


def read_common_voice(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `en/clips/X.mp3` as `en/train.tsv` lists them, and the same for Mandarin."""
    there = [name for name in _COMMON_VOICE_LANGUAGES if (root / name).is_dir()]
    for language in there or _COMMON_VOICE_LANGUAGES[:1]:
        inside = f"{language}/train.tsv"
        table = find_file(root, inside, source="common-voice", bring=_COMMON_VOICE_BRING)
        clips = f"{language}/clips"
        find_folder(root, clips, source="common-voice", bring=_COMMON_VOICE_BRING)
        columns = ("path", "sentence", "age", "gender")
        for row in read_rows(table, *columns, delimiter="\t", quoted=False):
            yield Metadata(
                id=f"{language}/{Path(row['path']).stem}",
                audio=f"{clips}/{row['path']}",
                segments=spoken(row["sentence"] or None),
                attributes={
                    "Language": language_name(language),
                    "Gender": gender_name(row["gender"]),
                    "Age": age_name(row["age"]),
                    "Accent": row.get("accents") or row.get("accent"),  # the name changed in 2021
                },
                split="train",
            )
        for part, split in _COMMON_VOICE_OTHERS.items():
            table = root / language / f"{part}.tsv"
            if table.is_file():
                for row in read_rows(table, "path", delimiter="\t", quoted=False):
                    yield of_split(f"{language}/{Path(row['path']).stem}", split)


def read_voxceleb1(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `wav/id10001/VIDEO/00001.wav`; `vox1_meta.csv` has sex and split of a speaker.

    What is said is not stated. The split is that of speaker verification.
    """
    table = find_file(root, "vox1_meta.csv", source="voxceleb1", bring=_VOXCELEB_BRING)
    columns = ("VoxCeleb1 ID", "Gender", "Set")
    rows = read_rows(table, *columns, delimiter="\t")
    speakers = {row["VoxCeleb1 ID"]: row for row in rows}
    for path in list_files(root, "wav", "*/*/*.wav", source="voxceleb1", bring=_VOXCELEB_BRING):
        id = relative_id(path, root / "wav")
        speaker = speakers.get(path.relative_to(root / "wav").parts[0])
        if speaker is None:
            yield Skipped(id=id, reason="its speaker is not in vox1_meta.csv", broken=True)
        elif speaker["Set"] != "dev":
            yield of_split(id, "test")
        else:
            yield Metadata(
                id=id,
                audio=path.relative_to(root).as_posix(),
                segments=spoken(None),
                attributes={"Gender": gender_name(speaker["Gender"])},
                split="train",
            )


def _globe_clip(row: HubRow) -> Metadata:
    values = row.values
    return Metadata(
        id=row.id,
        audio=row.audio,
        segments=spoken((values["transcript"] or "").strip() or None),
        attributes={
            "Accent": values["accent"],
            "Age": age_name(values["age"]),
            "Gender": gender_name(values["gender"]),
        },
        split="train",
    )


VOICE_SOURCES = (
    Source(
        name="globe",
        title="GLOBE, English accents of the whole world, cleaned Common Voice",
        domains=("speech",),
        licence="CC0-1.0",
        obtain="Hugging Face Hub: MushanW/GLOBE (or MushanW/GLOBE_V2)",
        layout="confirmed",
        cited="espnet: egs2/globe/tts1/local/data_prep.py; the cards of copies on the Hub",
        read=hub_reader(
            "globe",
            "MushanW/GLOBE",
            ("transcript", "accent", "age", "gender"),
            _globe_clip,
            splits={"val": "validation"},
        ),
    ),
    Source(
        name="common-voice",
        title="Common Voice, sentences read by volunteers in English and Mandarin",
        domains=("speech",),
        licence="CC0-1.0",
        obtain="Mozilla, after agreeing not to identify speakers: en, zh-CN, zh-TW",
        layout="confirmed",
        cited="lhotse: recipes/commonvoice.py",
        read=read_common_voice,
    ),
    Source(
        name="voxceleb1",
        title="VoxCeleb1, celebrities in interviews",
        domains=("speech",),
        licence="CC-BY-4.0 for the metadata; the recordings belong to their owners",
        obtain="its authors, after a request form (mm.kaist.ac.kr/datasets/voxceleb)",
        layout="confirmed",
        cited="lhotse: recipes/voxceleb.py; torchaudio: datasets/voxceleb1.py",
        read=read_voxceleb1,
    ),
)
