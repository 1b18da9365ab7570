"""Corpora of many languages, and of two at once: VoxLingua107, CSZS, NTUML2021."""

import re
from collections.abc import Iterator
from pathlib import Path

from desta.sources.base import Metadata, Skipped, Source, find_folder, of_split, relative_id, spoken
from desta.sources.files import unpacked, visible
from desta.sources.hub import HubRow, hub_reader
from desta.sources.languages import LANGUAGES, language_name

_LATIN = re.compile(r"[A-Za-z]{2}")
_PAIR = re.compile(r"cszs_(?P<language>es|fr|zh)_en/")
_CSZS = tuple(f"ky552/cszs_{language}_en" for language in ("es", "fr", "zh"))


def read_voxlingua107(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield speech from videos in 107 languages, without its words.

    The archive of a language unpacks to a folder named by its code, with files such as
    `VIDEO__U__S10---0123.456-0130.789.wav`.
    """
    folder = unpacked(root, "train")
    languages = sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "dev")
    if not any(path.name in LANGUAGES for path in languages):
        bring = "unpack en.zip or that of another language"
        find_folder(folder, "en", source="voxlingua107", bring=bring)
    for path in visible(root / "dev", "*/*.wav"):
        yield of_split(relative_id(path, root), "dev")
    for language in languages:
        for path in visible(language, "*.wav"):
            id = relative_id(path, folder)
            if language.name not in LANGUAGES:
                yield Skipped(id=id, reason="its folder is not called by a language's code")
                continue
            yield Metadata(
                id=id,
                audio=path.relative_to(root).as_posix(),
                segments=spoken(None),
                attributes={"Language": language_name(language.name)},
                split="train",
            )


def _describe_cszs(row: HubRow) -> Metadata | Skipped:
    """Return the metadata of the sensible sentence; a row pairs it with a nonsensical one."""
    match = _PAIR.match(row.id)
    words = row.values["correct_transcription"]
    if match is None:
        return Skipped(id=row.id, reason="it does not lie in cszs_es_en, cszs_fr_en or cszs_zh_en")
    if not words:
        return Skipped(id=row.id, reason="no text for it")
    languages = f"{language_name(match['language'])}-English code-switching"
    return Metadata(
        id=row.id,
        audio=row.audio,
        segments=spoken(words),
        attributes={"Language": languages},
        split="train",
    )


def _describe_ntuml2021(row: HubRow) -> Metadata | Skipped:
    words = row.values["transcription"]
    if not words:
        return Skipped(id=row.id, reason="no text for it")
    mixed = _LATIN.search(words)
    return Metadata(
        id=row.id,
        audio=row.audio,
        segments=spoken(words),
        attributes={"Language": "Chinese-English code-switching" if mixed else "Chinese"},
        split="train",
    )


LANGUAGE_SOURCES = (
    Source(
        name="voxlingua107",
        title="VoxLingua107: speech from videos in 107 languages",
        domains=("speech",),
        licence="see its agreement",
        obtain="bark.phon.ioc.ee/voxlingua107, free: one archive a language",
        layout="confirmed",
        cited="SpeechBrain recipes/VoxLingua107/lang_id/create_wds_shards.py and README.md",
        read=read_voxlingua107,
    ),
    Source(
        name="cszs",
        title="CSZS: sentences that switch from Spanish, French or Chinese to English",
        domains=("speech",),
        licence="MIT",
        obtain="Hugging Face ky552/cszs_es_en, cszs_fr_en, cszs_zh_en, free: folders of the root",
        layout="confirmed",
        cited="data set cards of ky552/cszs_es_en and ky552/cszs_zh_en",
        read=hub_reader(
            "cszs",
            _CSZS,
            ("correct_transcription",),
            _describe_cszs,
            audio="correct_audio",
        ),
    ),
    Source(
        name="ntuml2021",
        title="NTUML2021: lectures on machine learning in Mandarin with English terms",
        domains=("speech",),
        licence="MIT",
        obtain="Hugging Face ky552/ML2021_ASR_ST, free",
        layout="confirmed",
        cited="data set card of ky552/ML2021_ASR_ST",
        read=hub_reader(
            "ntuml2021", "ky552/ML2021_ASR_ST", ("transcription",), _describe_ntuml2021
        ),
    ),
)
