"""Corpora of speech in a stated style: recorded, synthesised or described in words."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from desta.errors import DataError
from desta.sources.base import (
    OTHER_TEST,
    Metadata,
    Skipped,
    Source,
    find_file,
    find_folder,
    of_split,
    readable,
    spoken,
)
from desta.sources.files import read_text
from desta.sources.glossary import JOINED, emotion_name, gender_name, noise_name
from desta.sources.hub import HubRow, hub_reader
from desta.sources.tables import read_rows

_EXPRESSO_BRING = "unpack expresso.tar"
_EXPRESSO_READ = "audio_48khz/read"
_EXPRESSO_NAME = re.compile(r"(?P<speaker>ex\d\d)_(?P<style>[a-z]+)_(?:(?P<kind>[a-z]+)_)?\d+")
_EXPRESSO_PART = re.compile(r"_channel\d.*|_segment_.*")  # of a conversation
_EXPRESSO_GENDERS = {"ex01": "Male", "ex02": "Female", "ex03": "Male", "ex04": "Female"}

_PROMPTTTS_BRING = "synthesise the texts of PromptSpeech as its tags say"
_PROMPTTTS_COLUMNS = ("item_name", "text", "gender", "pitch", "speed", "volume", "emotion")

_PARASPEECH_ROOTS = ("voxceleb", "expresso", "ears", "emilia")


def read_expresso(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `audio_48khz/read/ex01/happy/base/ex01_happy_00001.wav`, short sentences read aloud.

    `splits/train.txt` lists names, and parts of long recordings as `name<TAB>(start,end)`; these,
    and the conversations, would have to be cut first. `*word*` is a word to be stressed.
    """
    train = find_file(root, "splits/train.txt", source="expresso", bring=_EXPRESSO_BRING)
    table = find_file(root, "read_transcriptions.txt", source="expresso", bring=_EXPRESSO_BRING)
    find_folder(root, _EXPRESSO_READ, source="expresso", bring=_EXPRESSO_BRING)
    lines = (line.partition("\t") for line in read_text(table).splitlines())
    texts = {name: text.replace("*", "").strip() for name, _, text in lines}
    for name, whole in _expresso_names(train):
        match = _EXPRESSO_NAME.fullmatch(name)
        if not whole:
            yield Skipped(id=name, reason="a part of a long recording")
            continue
        if match is None:
            yield Skipped(id=name, reason="a conversation, not a sentence read aloud")
            continue
        speaker, style = match["speaker"], match["style"]
        yield Metadata(
            id=name,
            audio=f"{_EXPRESSO_READ}/{speaker}/{style}/base/{name}.wav",
            segments=spoken(texts.get(name)),
            attributes={
                "Style": readable("emphasis" if match["kind"] == "emphasis" else style),
                "Gender": _EXPRESSO_GENDERS.get(speaker),
            },
            split="train",
        )
    for part, split in {"dev": "validation", "test": "test"}.items():
        if (root / f"splits/{part}.txt").is_file():
            for name, _ in _expresso_names(root / f"splits/{part}.txt"):
                yield of_split(f"{part}/{name}", split)


def _expresso_names(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the names in a split, and whether each is a whole recording."""
    for line in read_text(path).splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, times = line.strip().partition("\t")
            yield name.strip(), not times


def read_prompttts(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `wavs/ITEM.wav` as `metadata.csv` lists them: the texts and tags of PromptSpeech."""
    table = find_file(root, "metadata.csv", source="prompttts", bring=_PROMPTTTS_BRING)
    find_folder(root, "wavs", source="prompttts", bring=_PROMPTTTS_BRING)
    for row in read_rows(table, *_PROMPTTTS_COLUMNS):
        yield Metadata(
            id=row["item_name"],
            audio=f"wavs/{row['item_name']}.wav",
            segments=spoken(row["text"] or None),
            attributes={
                "Speaking speed": readable(row["speed"]),
                "Volume": readable(row["volume"]),
                "Pitch": readable(row["pitch"]),
                "Gender": gender_name(row["gender"]),
                "Emotion": emotion_name(row["emotion"]) or readable(row["emotion"]),
            },
        )


def _anispeech_clip(row: HubRow) -> Metadata:
    return Metadata(
        id=row.id,
        audio=row.audio,
        segments=spoken((row.values["caption"] or "").strip() or None),
    )


def _paraspeechcaps_clip(row: HubRow) -> Metadata:
    values = row.values
    tags = values["situational_tags"] or ()
    return Metadata(
        id=row.id,
        audio=f"{(values['source'] or '').lower()}/{values['relative_audio_path']}",
        segments=spoken((values["transcription"] or "").strip() or None),
        attributes={
            "Gender": gender_name(values["gender"]),
            "Accent": values["accent"],
            "Emotion": JOINED.join(name for tag in tags if (name := emotion_name(tag))),
            "Style": JOINED.join(readable(tag) for tag in tags if not emotion_name(tag)),
            "Voice": JOINED.join(map(readable, values["intrinsic_tags"] or ())),
            "Pitch": readable((values["pitch"] or "").removesuffix("-pitched")),
            "Speaking speed": readable((values["speaking_rate"] or "").removesuffix(" speed")),
            "Noise level": noise_name(values["noise"]),
        },
        split="train",
    )


_paraspeechcaps_rows = hub_reader(
    "paraspeechcaps",
    "ajd12342/paraspeechcaps",
    (
        *("source", "relative_audio_path", "transcription", "situational_tags", "intrinsic_tags"),
        *("gender", "accent", "pitch", "speaking_rate", "noise"),
    ),
    _paraspeechcaps_clip,
    audio=None,
    folder="data",
    train=("train_base", "train_scaled"),
    splits={"dev": "validation", "holdout": "test"},
)


def read_paraspeechcaps(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield the captioned recordings of `voxceleb`, `expresso`, `ears` and `emilia`.

    These four are corpora of their own, prepared by the authors' scripts; any may be missing.
    What VoxCeleb and Expresso keep for dev or test is left out.
    """
    if not any((root / name).is_dir() for name in _PARASPEECH_ROOTS):
        raise DataError(
            f"paraspeechcaps: {root} holds none of {', '.join(_PARASPEECH_ROOTS)}",
            fix="unpack one of the corpora that hold the recordings, or describe a corpus of your "
            "own with `desta describe custom`",
        )
    held_out = set(_expresso_held_out(root / "expresso"))
    for item in _paraspeechcaps_rows(root):
        if isinstance(item, Skipped):
            yield item
            continue
        path = PurePosixPath(item.audio)
        corpus, name = path.parts[0], _EXPRESSO_PART.sub("", path.stem)
        if not (root / corpus).is_dir():
            yield Skipped(id=item.id, reason="the corpus that holds its recording is not there")
        elif {"voxceleb": "test" in path.parts, "expresso": name in held_out}.get(corpus, False):
            yield Skipped(id=item.id, reason=OTHER_TEST)
        else:
            yield item


def _expresso_held_out(folder: Path) -> Iterator[str]:
    """Yield the names of recordings that Expresso keeps, as a whole or in part, for dev or test."""
    if folder.is_dir():
        for part in ("dev", "test"):
            inside = f"splits/{part}.txt"
            path = find_file(folder, inside, source="paraspeechcaps", bring=_EXPRESSO_BRING)
            yield from (name for name, _ in _expresso_names(path))


STYLE_SOURCES = (
    Source(
        name="expresso",
        title="Expresso, sentences read in expressive styles",
        domains=("speech",),
        licence="CC-BY-NC-4.0",
        obtain="the link in facebookresearch/textlesslib: examples/expresso/dataset",
        layout="confirmed",
        cited="facebookresearch/textlesslib: examples/expresso/dataset (README.md, processing)",
        read=read_expresso,
    ),
    Source(
        name="prompttts",
        title="PromptTTS, texts synthesised to tags of style",
        domains=("speech",),
        licence="see the terms of PromptSpeech, and of the synthesiser",
        obtain="not public: synthesise PromptSpeech's texts with a system of your own",
        layout="believed",
        cited="the tags are the paper's (arXiv 2211.12171); folders and columns are ours",
        read=read_prompttts,
    ),
    Source(
        name="anispeech",
        title="AniSpeech, English lines of animation characters",
        domains=("speech",),
        licence="MIT, as its page says",
        obtain="Hugging Face Hub: ShoukanLabs/AniSpeech",
        layout="confirmed",
        cited="huggingface.co/datasets/ShoukanLabs/AniSpeech: the list of files and its viewer",
        read=hub_reader(
            "anispeech",
            "ShoukanLabs/AniSpeech",
            ("caption",),
            _anispeech_clip,
            train=("ENGLISH",),
        ),
    ),
    Source(
        name="paraspeechcaps",
        title="ParaSpeechCaps, voices and styles described by tags",
        domains=("speech",),
        licence="CC-BY-NC-SA-4.0 for the annotations; the recordings' own for the rest",
        obtain="Hugging Face Hub: ajd12342/paraspeechcaps; VoxCeleb, Expresso, EARS and Emilia",
        layout="confirmed",
        cited="ajd12342/paraspeechcaps on GitHub: dataset/README.md",
        read=read_paraspeechcaps,
    ),
)
