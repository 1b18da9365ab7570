"""Corpora of texts read aloud: KeSpeech, LibriTTS-R, the voice of festvox-ru."""

import re
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
from desta.sources.files import (
    find_any,
    read_fields,
    read_kaldi,
    read_text,
    read_words,
    unpacked,
    visible,
)
from desta.sources.glossary import gender_name

_KESPEECH_TABLES = ("wav.scp", "text", "utt2spk", "utt2subdialect")
_LIBRITTS_PARTS = ("train-clean-100", "train-clean-360", "train-other-500")
_FESTVOX = "usr/share/festival/voices/russian/msu_ru_nsh_clunits"
_PROMPT = re.compile(r'\( *(?P<id>\w+) +"(?P<text>.*)" *\)')  # ( ru_0001 "Она завела, прядь." )


def read_festvox_ru(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield the sentences that a speech synthesiser is cut from: one man of Moscow, 16 kHz.

    `festvox/msu_ru_nsh_clunits.scm` states language and sex. In `etc/txt.done.data` commas stand
    for pauses and "+" for stress; neither is kept.
    """
    source, bring = "festvox-ru", "`desta sources fetch festvox-ru` fetches it"
    texts = find_file(root, f"{_FESTVOX}/etc/txt.done.data", source=source, bring=bring)
    folder = find_folder(root, f"{_FESTVOX}/wav", source=source)
    words = {
        match["id"]: " ".join(match["text"].replace("+", "").replace(",", "").split())
        for match in _PROMPT.finditer(read_text(texts))
    }
    for path in visible(folder, "*.wav"):
        if not words.get(path.stem):
            yield Skipped(id=path.stem, reason="no text for it")
            continue
        yield Metadata(
            id=path.stem,
            audio=path.relative_to(root).as_posix(),
            segments=spoken(words[path.stem]),
            attributes={"Language": "Russian", "Gender": "Male"},
            group="voice/msu_ru_nsh",
            split="train",
        )


def read_kespeech(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield Mandarin in nine dialects.

    `Tasks/ASR/train_phase1` and `train_phase2` hold tables in the manner of Kaldi; the paths in
    `wav.scp` are relative to the root.
    """
    source, bring = "kespeech", "unpack the archive of KeSpeech"
    find_folder(root, "Tasks/ASR/train_phase1", source=source, bring=bring)
    tasks = root / "Tasks" / "ASR"
    for part in sorted(folder for folder in tasks.iterdir() if folder.is_dir()):
        tables = [
            read_kaldi(find_file(part, name, source=source, bring=bring))
            for name in _KESPEECH_TABLES
        ]
        recordings, texts, speakers, dialects = tables
        for id, audio in recordings.items():
            if not part.name.startswith("train"):
                split = part.name.partition("_")[0]
                yield of_split(id, split)
            elif not (words := texts.get(id, "").replace("<SPOKEN_NOISE>", "").strip()):
                yield Skipped(id=id, reason="no text for it")
            else:
                yield Metadata(
                    id=id,
                    audio=audio,
                    segments=spoken(words),
                    attributes={
                        "Language": "Chinese",
                        "Dialect": dialects.get(id),
                        "Speaker": speakers.get(id),
                    },
                    split="train",
                )


def read_libritts_r(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield sentences from audio books, cleaned by a vocoder.

    `train-clean-100/READER/CHAPTER/X.wav` has its words in `X.normalized.txt` beside it;
    `speakers.tsv` states sex and name of every reader.
    """
    folder = unpacked(root, "LibriTTS_R")
    source = "libritts-r"
    table = find_file(folder, "speakers.tsv", source=source, bring="unpack doc.tar.gz")
    find_any(folder, *_LIBRITTS_PARTS, source=source, bring="unpack train_clean_100.tar.gz")
    readers = {fields[0]: fields for fields in read_fields(table, "\t") if len(fields) >= 4}
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        for path in visible(part, "*/*/*.wav"):
            id = relative_id(path, folder)
            if part.name not in _LIBRITTS_PARTS:
                split = part.name.partition("-")[0]
                yield of_split(id, split)
                continue
            words = read_words(path.with_suffix(".normalized.txt"))
            if words is None:
                yield Skipped(id=id, reason="no text for it")
                continue
            _, gender, _, name, *_ = readers.get(path.parent.parent.name, ("", "", "", ""))
            yield Metadata(
                id=id,
                audio=path.relative_to(root).as_posix(),
                segments=spoken(words),
                attributes={"Gender": gender_name(gender), "Speaker": name},
                split="train",
            )


READ_SOURCES = (
    Source(
        name="kespeech",
        title="KeSpeech: Mandarin and its eight dialects by 27,237 readers",
        domains=("speech",),
        licence="see its agreement",
        obtain="apply at kespeech@ke.com and sign its agreement (github.com/KeSpeech/KeSpeech)",
        layout="confirmed",
        cited="lhotse recipes/kespeech.py",
        read=read_kespeech,
    ),
    Source(
        name="libritts-r",
        title="LibriTTS-R: sentences of audio books, cleaned",
        domains=("speech",),
        licence="CC BY 4.0",
        obtain="OpenSLR 141, free: the archives of the training parts, and doc.tar.gz",
        layout="confirmed",
        cited="lhotse recipes/libritts.py; readers of LibriTTS_R/speakers.tsv",
        read=read_libritts_r,
    ),
    Source(
        name="festvox-ru",
        title="festvox-ru, sentences of Russian literature by one man",
        domains=("speech",),
        licence="BSD-like",
        obtain="a Debian package; `desta sources fetch` unpacks it",
        layout="confirmed",
        cited="the files of the package",
        read=read_festvox_ru,
        packages=("festvox-ru",),
    ),
)
