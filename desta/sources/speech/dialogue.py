"""Corpora of conversations, one clip per utterance: acted, from television, or scripted."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.sources.base import (
    NOT_WHOLE,
    Metadata,
    Skipped,
    Source,
    find_file,
    find_folder,
    of_split,
    readable,
    spoken,
)
from desta.sources.files import list_files, read_text, read_words
from desta.sources.glossary import emotion_name, gender_name, out_of
from desta.sources.tables import load_json, read_rows

_IEMOCAP_BRING = "unpack IEMOCAP_full_release.tar.gz"
_IEMOCAP_LABEL = re.compile(r"\[[\d.]+ - [\d.]+\]\t(\w+)\t(\w+)\t\[.*\]")
_IEMOCAP_TEXT = re.compile(r"(\w+) \[[\d.]+-[\d.]+\]:(.*)")
_NOTE = re.compile(r"\[\w+\]")  # [LAUGHTER] among the words

_MELD_BRING = "unpack MELD.Raw.tar.gz and train.tar.gz in it"
_MELD_LABELS = "train_sent_emo.csv"
_MELD_OTHERS = {"dev": "validation", "test": "test"}
_MELD_GENDERS = {
    "Chandler": "Male",
    "Joey": "Male",
    "Monica": "Female",
    "Phoebe": "Female",
    "Rachel": "Female",
    "Ross": "Male",
}
"""The main cast; the sex of guests is not stated."""
_MELD_MARKS = str.maketrans("\x85\x91\x92\x93\x94\x96\x97", "…‘’“”–—")
"""Bytes of Windows-1252 that the tables hold as control characters."""

_IMPROV_BRING = "fetch Evaluation.txt, the Audio folders and Human_Transcriptions.zip"
_IMPROV_NAME = re.compile(r"MSP-IMPROV-\w+-(?P<speaker>(?P<gender>[FM])\d+)-.+")
_IMPROV_TEXTS = "*[Tt]ranscriptions/**/MSP-IMPROV-*.txt"
_IMPROV_LINE = re.compile(
    r"UTD-IMPROV-(?P<id>[\w-]+)\.avi; (?P<emotion>\w);"
    r" A:(?P<Arousal>[\w.]+); V:(?P<Valence>[\w.]+);"
    r" D:(?P<Dominance>[\w.]+) ?; N:(?P<Naturalness>[\w.]+);"
)
_IMPROV_EMOTIONS = {"A": "Angry", "H": "Happy", "N": "Neutral", "S": "Sad"}  # O other, X disputed
_IMPROV_SCALES = ("Arousal", "Valence", "Dominance", "Naturalness")

_DAILYTALK_BRING = "unpack dailytalk.zip"


def read_iemocap(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav`.

    The last part of the name is the speaker (F, M); emotions and words lie in a file per dialogue.
    """
    find_folder(root, "Session1", source="iemocap", bring=_IEMOCAP_BRING)
    for session in sorted(root.glob("Session[1-5]")):
        inside = f"{session.name}/sentences/wav"
        wavs = list_files(root, inside, "*/*.wav", source="iemocap", bring=_IEMOCAP_BRING)
        for dialogue in dict.fromkeys(path.parent for path in wavs):
            emotions = _iemocap_lines(root, session, "EmoEvaluation", dialogue, _IEMOCAP_LABEL)
            texts = _iemocap_lines(root, session, "transcriptions", dialogue, _IEMOCAP_TEXT)
            for path in (path for path in wavs if path.parent == dialogue):
                text = " ".join(_NOTE.sub(" ", texts.get(path.stem, "")).split())
                yield Metadata(
                    id=path.stem,
                    audio=path.relative_to(root).as_posix(),
                    segments=spoken(text or None),
                    attributes={
                        "Emotion": emotion_name(emotions.get(path.stem)),
                        "Gender": gender_name(path.stem.split("_")[-1][:1]),
                    },
                    group=f"iemocap/{session.name}",  # two actors, who are in no other
                )


def _iemocap_lines(
    root: Path, session: Path, kind: str, dialogue: Path, line: re.Pattern[str]
) -> dict[str, str]:
    """Return utterance -> emotion or words out of the file of a dialogue."""
    inside = f"{session.name}/dialog/{kind}/{dialogue.name}.txt"
    path = find_file(root, inside, source="iemocap", bring=_IEMOCAP_BRING)
    matches = map(line.fullmatch, read_text(path).splitlines())
    return {match[1]: match[2] for match in matches if match}


def read_meld(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `train/train_splits/dia0_utt0.mp4` as `train_sent_emo.csv` lists them."""
    inside = _MELD_LABELS if (root / _MELD_LABELS).is_file() else f"train/{_MELD_LABELS}"
    table = find_file(root, inside, source="meld", bring=_MELD_BRING)
    find_folder(root, "train/train_splits", source="meld", bring=_MELD_BRING)
    numbers = ("Dialogue_ID", "Utterance_ID")
    for row in read_rows(table, "Utterance", "Speaker", "Emotion", "Sentiment", *numbers):
        name = _meld_name(row)
        yield Metadata(
            id=f"train/{name}",
            audio=f"train/train_splits/{name}.mp4",
            segments=spoken(row["Utterance"].translate(_MELD_MARKS) or None),
            attributes={
                "Emotion": emotion_name(row["Emotion"]),
                "Sentiment": readable(row["Sentiment"]),
                "Gender": _MELD_GENDERS.get(row["Speaker"]),
            },
            split="train",
        )
    for part, split in _MELD_OTHERS.items():
        table = root / f"{part}_sent_emo.csv"
        if table.is_file():
            for row in read_rows(table, *numbers):
                yield of_split(f"{part}/{_meld_name(row)}", split)


def _meld_name(row: dict[str, str]) -> str:
    return f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"


def read_msp_improv(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav`, below `Audio` or not.

    The fourth part of the name is the speaker (F01, M01). The scales are means over listeners,
    from 1 to 5.
    """
    source = "msp-improv"
    table = find_file(root, "Evaluation.txt", source=source, bring=_IMPROV_BRING)
    matches = (_IMPROV_LINE.fullmatch(line.strip()) for line in read_text(table).splitlines())
    labels = {f"MSP-IMPROV-{match['id']}": match for match in matches if match}
    bring = "unpack Human_Transcriptions.zip"
    transcripts = list_files(root, ".", _IMPROV_TEXTS, source=source, bring=bring)
    texts = {path.stem: path for path in transcripts}
    for path in list_files(root, ".", "**/MSP-IMPROV-*.wav", source=source, bring=_IMPROV_BRING):
        label, transcript = labels.get(path.stem), texts.get(path.stem)
        name = _IMPROV_NAME.fullmatch(path.stem)
        if label is None:
            yield Skipped(id=path.stem, reason="no label for it")
            continue
        yield Metadata(
            id=path.stem,
            audio=path.relative_to(root).as_posix(),
            segments=spoken(read_words(transcript) if transcript else None),
            attributes={
                "Gender": gender_name(name["gender"]) if name else None,
                "Emotion": _IMPROV_EMOTIONS.get(label["emotion"]),
                **{scale: out_of(label[scale], 5) for scale in _IMPROV_SCALES},
            },
            group=f"voice/msp-improv/{name['speaker']}" if name else None,
        )


def read_dailytalk(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `data/0/0_1_d0.wav`: dialogue, turn and speaker in the name, the rest in the table.

    Speaker 0 is a man, speaker 1 a woman.
    """
    table = find_file(root, "metadata.json", source="dailytalk", bring=_DAILYTALK_BRING)
    find_folder(root, "data", source="dailytalk", bring=_DAILYTALK_BRING)
    dialogues = load_json(table)
    if not isinstance(dialogues, dict) or not all(isinstance(d, dict) for d in dialogues.values()):
        raise DataError(f"{table} does not hold dialogues", fix=_DAILYTALK_BRING)
    for dialogue in sorted(dialogues, key=_in_numbers):
        for turn in sorted(dialogues[dialogue], key=_in_numbers):
            yield _dailytalk_clip(dialogue, turn, dialogues[dialogue][turn])


def _in_numbers(name: str) -> tuple[int, str]:
    """Return a sort key that puts "2" before "10"."""
    return len(name), name


def _dailytalk_clip(dialogue: str, turn: str, utterance: Any) -> Metadata | Skipped:
    try:
        speaker = int(utterance["speaker"])
        id = f"{dialogue}/{turn}_{speaker}_d{dialogue}"
        return Metadata(
            id=id,
            audio=f"data/{id}.wav",
            segments=spoken(" ".join(utterance["text"].split()) or None),
            attributes={
                "Emotion": emotion_name(utterance["emotion"]),
                "Act": readable(utterance["act"]),
                "Gender": "Female" if speaker else "Male",
            },
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return Skipped(id=f"{dialogue}/{turn}", reason=NOT_WHOLE, broken=True)


DIALOGUE_SOURCES = (
    Source(
        name="iemocap",
        title="IEMOCAP, emotional dialogues by ten actors",
        domains=("speech",),
        licence="see its agreement: research",
        obtain="SAIL, University of Southern California, after the release form",
        layout="confirmed",
        cited="Strong-AI-Lab/emotion: datasets/IEMOCAP/process.py; EmoBox: scripts/iemocap.py",
        read=read_iemocap,
    ),
    Source(
        name="meld",
        title="MELD, emotions and sentiments in dialogues of a television series",
        domains=("speech",),
        licence="GPL-3.0 for the annotations; the recordings are from the series",
        obtain="the links in declare-lab/MELD on GitHub: MELD.Raw.tar.gz",
        layout="confirmed",
        cited="emo-box/EmoBox: preprocess/scripts/meld.py; felixbur/nkululeko: data/meld",
        read=read_meld,
    ),
    Source(
        name="msp-improv",
        title="MSP-IMPROV, emotional improvisations by pairs of actors",
        domains=("speech",),
        licence="see its agreement: academic",
        obtain="MSP Lab, after an institution has signed the agreement",
        layout="confirmed",
        cited="Strong-AI-Lab/emotion: datasets/MSP-IMPROV/process.py",
        read=read_msp_improv,
    ),
    Source(
        name="dailytalk",
        title="DailyTalk, everyday dialogues read by a man and a woman",
        domains=("speech",),
        licence="CC-BY-SA-4.0",
        obtain="the link in keonlee9420/DailyTalk on GitHub",
        layout="confirmed",
        cited="lhotse: recipes/daily_talk.py; keonlee9420/DailyTalk: preprocessor/dailytalk.py",
        read=read_dailytalk,
    ),
)
