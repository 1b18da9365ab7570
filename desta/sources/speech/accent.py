"""Corpora of English in many accents: VCTK, AccentDB, Fair-Speech, Speech Accent Archive, ..."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from desta.sources.base import (
    Metadata,
    Skipped,
    Source,
    find_file,
    find_folder,
    relative_id,
    spoken,
)
from desta.sources.files import find_any, list_files, read_fields, read_words, unpacked, visible
from desta.sources.glossary import gender_name
from desta.sources.tables import read_rows

_VCTK_AUDIO = (("wav48_silence_trimmed", "_mic2.flac"), ("wav48", ".wav"))
"""Folder and end of the file name, in releases 0.92 and 0.80."""

_FAIR_SPEECH_COLUMNS = (
    "hash_name",
    "transcription",
    "gender",
    "age",
    "first_language",
    "socioeconomic_bkgd",
    "ethnicity",
)
_ARCHIVE_COLUMNS = ("filename", "sex", "age", "native_language", "country", "file_missing?")

_L2_SPEAKERS = {
    "ABA": ("Male", "Arabic"),
    "ASI": ("Male", "Hindi"),
    "BWC": ("Male", "Chinese"),
    "EBVS": ("Male", "Spanish"),
    "ERMS": ("Male", "Spanish"),
    "HJK": ("Female", "Korean"),
    "HKK": ("Male", "Korean"),
    "HQTV": ("Male", "Vietnamese"),
    "LXC": ("Female", "Chinese"),
    "MBMPS": ("Female", "Spanish"),
    "NCC": ("Female", "Chinese"),
    "NJS": ("Female", "Spanish"),
    "PNV": ("Female", "Vietnamese"),
    "RRBI": ("Male", "Hindi"),
    "SKA": ("Female", "Arabic"),
    "SVBI": ("Female", "Hindi"),
    "THV": ("Female", "Vietnamese"),
    "TLV": ("Male", "Vietnamese"),
    "TNI": ("Female", "Hindi"),
    "TXHC": ("Male", "Chinese"),
    "YBAA": ("Male", "Arabic"),
    "YDCK": ("Female", "Korean"),
    "YKWK": ("Male", "Korean"),
    "ZHAA": ("Female", "Arabic"),
}
"""Speaker -> sex and native language; the corpus has them in its README only."""


def read_vctk(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield the sentences of 110 readers, as the better of two microphones heard them.

    `speaker-info.txt` states age, sex and accent; `txt/p225/p225_001.txt` holds the words of
    `wav48_silence_trimmed/p225/p225_001_mic2.flac`, and of `..._mic1.flac`. Speaker p280 has no
    second microphone, speaker p315 no texts.
    """
    folder = unpacked(root, "VCTK-Corpus-0.92")
    folder = unpacked(folder, "VCTK-Corpus")
    source, bring = "vctk", "unpack VCTK-Corpus-0.92.zip"
    table = find_file(folder, "speaker-info.txt", source=source, bring=bring)
    texts = find_folder(folder, "txt", source=source, bring=bring)
    audio = find_any(folder, *(name for name, _ in _VCTK_AUDIO), source=source, bring=bring)
    speakers = _vctk_speakers(table)
    best = dict(_VCTK_AUDIO)[audio.name]
    for path in (p for p in visible(audio, "*/*") if p.suffix in (".flac", ".wav")):
        id, speaker = relative_id(path, audio), path.parent.name
        utterance = re.sub(r"_mic\d$", "", path.stem)
        other = path.with_name(f"{utterance}{best}")
        words = read_words(texts / speaker / f"{utterance}.txt")
        if path != other and other.is_file():
            yield Skipped(id=id, reason="the same words at the other microphone")
        elif words is None:
            yield Skipped(id=id, reason="no text for it")
        else:
            yield Metadata(
                id=id,
                audio=path.relative_to(root).as_posix(),
                segments=spoken(words),
                attributes=speakers.get(speaker, {}),
                group=f"voice/vctk/{speaker}",
            )


def _vctk_speakers(path: Path) -> dict[str, dict[str, str | None]]:
    """Return speaker -> attributes; release 0.80 writes 225 for p225."""
    speakers = {}
    for number, age, gender, accent, *_ in (f for f in read_fields(path) if len(f) >= 4):
        attributes = {"Gender": gender_name(gender), "Age": age}
        if accent != "Unknown":
            attributes["Accent"] = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", accent)  # NewZealand
        speakers[f"p{number}" if number.isdigit() else number] = attributes
    return speakers


def read_accentdb(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield Harvard sentences in nine accents: `data/ACCENT/SPEAKER/*.wav`.

    Four accents are recorded, five (American, Australian, British, Indian, Welsh) are the voices
    of a speech synthesiser. Which sentence a file holds is not stated.
    """
    folder = unpacked(unpacked(root, "accentdb_extended"), "accentDB_extended")
    bring = "unpack accentDB_extended.tar.gz"
    for path in list_files(folder, "data", "*/*/*.wav", source="accentdb", bring=bring):
        yield Metadata(
            id=relative_id(path, folder / "data"),
            audio=path.relative_to(root).as_posix(),
            segments=spoken(None),
            attributes={"Accent": path.parent.parent.name.capitalize()},
            group=f"voice/accentdb/{path.parent.relative_to(folder / 'data').as_posix()}",
        )


def read_fair_speech(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield commands to a voice assistant by speakers who say who they are.

    A table beside `asr_fairness_audio/` names the recordings by `hash_name`.
    """
    source, bring = "fair-speech", "unpack its archive and put the table of metadata beside it"
    names = ("fairspeech_metadata.tsv", "downloaded_file.tsv")
    table = find_any(root, *names, source=source, bring=bring)
    folder = find_folder(root, "asr_fairness_audio", source=source, bring=bring)
    for row in read_rows(table, *_FAIR_SPEECH_COLUMNS, delimiter="\t"):
        name = Path(row["hash_name"]).name  # of a file in the folder, whatever the table says
        yield Metadata(
            id=name,
            audio=(folder / f"{name}.wav").relative_to(root).as_posix(),
            segments=spoken(row["transcription"]),
            attributes={
                "Gender": gender_name(row["gender"]),
                "Age": row["age"],
                "Native language": row["first_language"],
                "Socioeconomic background": row["socioeconomic_bkgd"],
                "Ethnicity": row["ethnicity"],
            },
        )


def read_speech_accent_archive(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield one paragraph read by some two thousand people from all over the world, for training.

    `speakers_all.csv` says who they are, `reading-passage.txt` what they read; the recordings lie
    in `recordings/`, or once more below it.
    """
    source, bring = "speech-accent-archive", "unpack the archive of Kaggle"
    table = find_file(root, "speakers_all.csv", source=source, bring=bring)
    passage = find_file(root, "reading-passage.txt", source=source, bring=bring)
    folder = find_folder(root, "recordings", source=source, bring=bring)
    folder = unpacked(folder, "recordings")
    words = read_words(passage)
    for row in read_rows(table, *_ARCHIVE_COLUMNS):
        name = Path(row["filename"]).name
        if row["file_missing?"].upper() == "TRUE":
            yield Skipped(id=name, reason="the archive says that it has no recording")
        elif row["native_language"] == "synthesized":
            yield Skipped(id=name, reason="a synthesised voice")
        else:
            yield Metadata(
                id=name,
                audio=(folder / f"{name}.mp3").relative_to(root).as_posix(),
                segments=spoken(words),
                attributes=_archive_attributes(row),
                split="train",
            )


def _archive_attributes(row: Mapping[str, str]) -> dict[str, str | None]:
    country = row["country"]
    return {
        "Gender": gender_name(row["sex"]),
        "Age": row["age"].removesuffix(".0"),
        "Native language": row["native_language"].title(),
        "Country": country.upper() if country in ("usa", "uk") else country.title(),
    }


def read_l2_arctic(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield sentences read, and one story told, by learners of English.

    `ABA/wav/arctic_a0001.wav` has its words in `ABA/transcript/arctic_a0001.txt`;
    `suitcase_corpus` holds a story of most speakers: `wav/aba.wav`, `transcript/aba.txt`.
    """
    names = (*_L2_SPEAKERS, "suitcase_corpus")
    find_any(
        root,
        *(f"{name}/wav" for name in names),
        source="l2-arctic",
        bring="unpack l2arctic_release_v5.0.zip, and the archive of every speaker in it",
    )
    for name in names:
        if not (root / name / "wav").is_dir():
            yield Skipped(id=name, reason="its archive is not unpacked")
        for path in visible(root / name / "wav", "*.wav"):
            speaker = path.stem.upper() if name == "suitcase_corpus" else name
            words = read_words(root / name / "transcript" / f"{path.stem}.txt")
            if words is None or speaker not in _L2_SPEAKERS:
                yield Skipped(id=f"{name}/{path.stem}", reason="no text for it, or no speaker")
                continue
            gender, language = _L2_SPEAKERS[speaker]
            yield Metadata(
                id=f"{name}/{path.stem}",
                audio=path.relative_to(root).as_posix(),
                segments=spoken(words),
                attributes={
                    "Gender": gender,
                    "Accent": language,
                    "Native language": language,
                    "Speaker": speaker,
                },
                group=f"voice/l2-arctic/{speaker}",
            )


ACCENT_SOURCES = (
    Source(
        name="vctk",
        title="VCTK: newspaper sentences by 110 readers of English",
        domains=("speech",),
        licence="CC BY 4.0",
        obtain="Edinburgh DataShare 10283/3443, free",
        layout="confirmed",
        cited="TorchAudio datasets/vctk.py, lhotse recipes/vctk.py",
        read=read_vctk,
    ),
    Source(
        name="accentdb",
        title="AccentDB (extended): sentences in nine accents of English",
        domains=("speech",),
        licence="see its agreement",
        obtain="accentdb.org, free",
        layout="confirmed",
        cited="TensorFlow Datasets audio/accentdb.py",
        read=read_accentdb,
    ),
    Source(
        name="fair-speech",
        title="Fair-Speech: voice commands of 593 people from the United States",
        domains=("speech",),
        licence="see its agreement",
        obtain="Meta AI, after its agreement; made to evaluate, without splits",
        layout="confirmed",
        cited="public preparation scripts of fairspeech_metadata.tsv and asr_fairness_audio",
        read=read_fair_speech,
    ),
    Source(
        name="speech-accent-archive",
        title="Speech Accent Archive: one paragraph in 200 accents of English",
        domains=("speech",),
        licence="CC BY-NC-SA 2.0",
        obtain="Kaggle rtatman/speech-accent-archive, with an account",
        layout="confirmed",
        cited="Hugging Face ummonk/GMUSpeechAccentArchive metadata.py and its list of files",
        read=read_speech_accent_archive,
    ),
    Source(
        name="l2-arctic",
        title="L2-ARCTIC: English read by 24 speakers of six other languages",
        domains=("speech",),
        licence="CC BY-NC 4.0",
        obtain="Texas A&M University, psi.engr.tamu.edu/l2-arctic-corpus, on request",
        layout="confirmed",
        cited="lhotse recipes/l2_arctic.py",
        read=read_l2_arctic,
    ),
)
