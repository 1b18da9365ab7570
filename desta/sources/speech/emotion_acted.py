"""Corpora of sentences that actors speak in given emotions.

The language is stated where it is not English throughout. Where everybody speaks the same handful
of sentences (CREMA-D, CaFE, EMOVO, RAVDESS), all of the corpus is for training.
"""

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
from desta.sources.files import list_files, read_text, visible
from desta.sources.glossary import age_name, emotion_name, gender_name
from desta.sources.tables import read_rows

_ODD_NAME = "its name is not of the form that the corpus documents"

_CREMA_BRING = "clone CheyneyComputerScience/CREMA-D with Git LFS"
_CREMA_NAME = re.compile(r"(?P<actor>\d{4})_(?P<sentence>\w{3})_(?P<emotion>\w{3})_(?P<level>\w+)")
_CREMA_SENTENCES = {
    "DFA": "Don't forget a jacket.",
    "IEO": "It's eleven o'clock.",
    "IOM": "I'm on my way to the meeting.",
    "ITH": "I think I have a doctor's appointment.",
    "ITS": "I think I've seen this before.",
    "IWL": "I would like a new alarm clock.",
    "IWW": "I wonder what this is about.",
    "MTI": "Maybe tomorrow it will be cold.",
    "TAI": "The airplane is almost full.",
    "TIE": "That is exactly what happened.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
_CREMA_LEVELS = {"LO": "Low", "MD": "Medium", "HI": "High"}  # XX: not stated
_CREMA_SILENT = "1076_MTI_SAD_XX"

_RAVDESS_BRING = "unpack Audio_Speech_Actors_01-24.zip"
_RAVDESS_NAME = re.compile(
    r"03-0(?P<channel>[12])-0(?P<emotion>[1-8])-0(?P<level>[12])-0(?P<sentence>[12])-0[12]-(?P<actor>\d\d)"
)
_RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "surprise")
_RAVDESS_SENTENCES = ("Kids are talking by the door.", "Dogs are sitting by the door.")

_CAFE_BRING = "unpack CaFE_48k.zip"
_CAFE_NAME = re.compile(
    r"(?P<actor>0[1-9]|1[0-2])-(?P<emotion>[CDJNPST])-(?P<level>[12])-(?P<sentence>[1-6])"
)
_CAFE_EMOTIONS = {
    "C": "Angry",  # colère
    "D": "Disgusted",
    "J": "Happy",  # joie
    "N": "Neutral",
    "P": "Fearful",  # peur
    "S": "Surprised",
    "T": "Sad",  # tristesse
}
_CAFE_AGES = (46, 64, 18, 50, 22, 34, 15, 25, 42, 20, 35, 37)
"""Years of actors 1 to 12; odd numbers are men."""
_CAFE_SENTENCES = {
    "1": ("Un cheval fou dans mon jardin", "One crazy horse in my garden"),
    "2": ("Deux ânes aigris au pelage brun", "Two embittered donkeys with a brown coat"),
    "3": ("Trois cygnes aveugles au bord du lac", "Three blind swans by the lake"),
    "4": ("Quatre vieilles truies éléphantesques", "Four gigantic old sows"),
    "5": ("Cinq pumas fiers et passionnés", "Five proud and passionate pumas"),
    "6": ("Six ours aimants domestiqués", "Six domesticated caring bears"),
}

_EMOVO_BRING = "unpack emovo.zip"
_EMOVO_NAME = re.compile(r"(?P<emotion>[a-z]{3})-(?P<actor>[fm][123])-(?P<sentence>[bdln]\d)")
_EMOVO_EMOTIONS = {
    "dis": "Disgusted",
    "gio": "Happy",  # gioia
    "neu": "Neutral",
    "pau": "Fearful",  # paura
    "rab": "Angry",  # rabbia
    "sor": "Surprised",
    "tri": "Sad",
}
_EMOVO_AGES = {"f1": "28", "f2": "23", "f3": "25", "m1": "30", "m2": "27", "m3": "30"}
_EMOVO_SENTENCES = {
    "b1": "Gli operai si alzano presto.",
    "b2": "I vigili sono muniti di pistola.",
    "b3": "La cascata fa molto rumore.",
    "d1": "Sabato sera cosa farà?",
    "d2": "Porti con te quella cosa?",
    "l1": "L'autunno prossimo Tony partirà per la Spagna: nella prima metà di ottobre.",
    "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata.",
    "l3": "Un attimo dopo s'è incamminato... ed è inciampato.",
    "l4": "Vorrei il numero telefonico del Signor Piatti.",
    "n1": "La casa forte vuole col pane.",
    "n2": "La forza trova il passo e l'aglio rosso.",
    "n3": "Il gatto sta scorrendo nella pera.",
    "n4": "Insalata pastasciutta coscia d'agnello limoncello.",
    "n5": "Uno quarantatré dieci mille cinquantasette venti.",
}

_EMNS_BRING = "fetch metadata.csv and unpack cleaned_webm.tar.xz of OpenSLR 136"

_ESD_BRING = "unpack Emotion Speech Dataset.zip"
_ESD_EMOTIONS = ("Angry", "Happy", "Neutral", "Sad", "Surprise")
_ESD_NAME = re.compile(r"\d{4}_(?P<number>\d{6})")
_ESD_LINE = re.compile(r"(?P<id>\d{4}_\d{6})\s+(?P<text>.+?)\s+\S+")
_ESD_MEN = {4, 5, 6, 8, 10, 11, 12, 13, 14, 20}
_ESD_MANDARIN = 10  # the first speakers speak Mandarin, the rest English

_EMOV_BRING = "unpack every archive of OpenSLR 115 into a folder of its name, such as bea_Amused"
_EMOV_TEXTS = "cmuarctic.data"
_EMOV_NAME = re.compile(r"(?P<emotion>[a-z]+)_\d+-\d+_(?P<sentence>\d{4})", re.IGNORECASE)
_EMOV_GENDERS = {"bea": "Female", "jenie": "Female", "josh": "Male", "sam": "Male"}


def read_crema_d(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `AudioWAV/1001_IEO_ANG_HI.wav`: actor, sentence, emotion and its level."""
    table = find_file(root, "VideoDemographics.csv", source="crema-d", bring=_CREMA_BRING)
    columns = ("ActorID", "Age", "Sex", "Race", "Ethnicity")
    actors = {row["ActorID"]: row for row in read_rows(table, *columns)}
    for path in list_files(root, "AudioWAV", "*.wav", source="crema-d", bring=_CREMA_BRING):
        match = _CREMA_NAME.fullmatch(path.stem)
        if match is None or match["actor"] not in actors:
            yield Skipped(id=path.stem, reason=_ODD_NAME, broken=True)
        elif path.stem == _CREMA_SILENT:
            yield Skipped(id=path.stem, reason="it is silent", broken=True)
        else:
            actor = actors[match["actor"]]
            yield Metadata(
                id=path.stem,
                audio=path.relative_to(root).as_posix(),
                segments=spoken(_CREMA_SENTENCES.get(match["sentence"])),
                attributes={
                    "Emotion": emotion_name(match["emotion"]),
                    "Gender": gender_name(actor["Sex"]),
                    "Age": age_name(actor["Age"]),
                    "Race": actor["Race"] if actor["Race"] != "Unknown" else None,
                    "Ethnicity": actor["Ethnicity"],
                    "Intensity": _CREMA_LEVELS.get(match["level"]),
                },
                split="train",
            )


def read_ravdess(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `Actor_12/03-01-06-01-02-01-12.wav`: emotion, level, sentence and actor in the name."""
    for path in list_files(root, ".", "**/*.wav", source="ravdess", bring=_RAVDESS_BRING):
        match = _RAVDESS_NAME.fullmatch(path.stem)
        if match is None:
            yield Skipped(id=path.stem, reason=_ODD_NAME, broken=True)
            continue
        if match["channel"] == "2":
            yield Skipped(id=path.stem, reason="it is sung")
            continue
        emotion = emotion_name(_RAVDESS_EMOTIONS[int(match["emotion"]) - 1])
        level = {"1": "Medium", "2": "High"}[match["level"]]
        attributes = {
            "Emotion": emotion,
            "Gender": "Male" if int(match["actor"]) % 2 else "Female",
            "Intensity": level if emotion != "Neutral" else None,
        }
        yield Metadata(
            id=path.stem,
            audio=path.relative_to(root).as_posix(),
            domain="speech",
            segments=spoken(_RAVDESS_SENTENCES[int(match["sentence"]) - 1]),
            attributes=attributes,
            split="train",
        )


def read_cafe(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `Colère/Faible/01-C-1-3.wav`: actor, emotion, intensity and sentence in the name."""
    for path in list_files(root, ".", "**/*.wav", source="cafe", bring=_CAFE_BRING):
        id, match = relative_id(path, root), _CAFE_NAME.fullmatch(path.stem)
        if match is None:
            yield Skipped(id=id, reason=_ODD_NAME, broken=True)
            continue
        actor, (text, english) = int(match["actor"]), _CAFE_SENTENCES[match["sentence"]]
        intensity = {"1": "Low", "2": "High"}[match["level"]]
        yield Metadata(
            id=id,
            audio=path.relative_to(root).as_posix(),
            segments=spoken(text),
            attributes={
                "Language": "French",
                "Emotion": _CAFE_EMOTIONS[match["emotion"]],
                "Gender": "Male" if actor % 2 else "Female",
                "Intensity": intensity if match["emotion"] != "N" else None,
                "Age": str(_CAFE_AGES[actor - 1]),
                "English translation": english,
            },
            split="train",
        )


def read_emovo(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `f1/dis-f1-b1.wav`: emotion, actor and sentence in the name."""
    for path in list_files(root, ".", "**/*.wav", source="emovo", bring=_EMOVO_BRING):
        id, match = relative_id(path, root), _EMOVO_NAME.fullmatch(path.stem.lower())
        if match is None or match["emotion"] not in _EMOVO_EMOTIONS:
            yield Skipped(id=id, reason=_ODD_NAME, broken=True)
            continue
        yield Metadata(
            id=id,
            audio=path.relative_to(root).as_posix(),
            segments=spoken(_EMOVO_SENTENCES.get(match["sentence"])),
            attributes={
                "Language": "Italian",
                "Emotion": _EMOVO_EMOTIONS[match["emotion"]],
                "Gender": "Female" if match["actor"].startswith("f") else "Male",
                "Age": _EMOVO_AGES[match["actor"]],
            },
            split="train",
        )


def read_emns(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield the recordings that `metadata.csv` lists, one voice telling stories."""
    inside = "metadata.csv" if (root / "metadata.csv").is_file() else "cleaned_webm/metadata.csv"
    table = find_file(root, inside, source="emns", bring=_EMNS_BRING)
    find_folder(root, "cleaned_webm", source="emns", bring=_EMNS_BRING)
    columns = ("id", "utterance", "emotion", "gender", "age", "audio_recording", "user_id")
    for row in read_rows(table, *columns, delimiter="|"):
        name = Path(row["audio_recording"]).name  # the table says wavs/X.webm
        if row.get("status") == "Needs Updating":
            yield Skipped(id=Path(name).stem or row["id"], reason="its recording was withdrawn")
            continue
        yield Metadata(
            id=Path(name).stem,
            audio=f"cleaned_webm/{name}",
            segments=spoken(row["utterance"] or None),
            attributes={
                "Emotion": emotion_name(row["emotion"]),
                "Gender": gender_name(row["gender"]),
                "Speaker": row["user_id"],
                "Age": age_name(row["age"]),
            },
        )


def read_esd(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `0011/Angry/train/0011_000401.wav`; newer archives leave the folder of the split out.

    Of the 350 recordings of a speaker and emotion the first 20 are for validation, the next 30
    for test, in either form.
    """
    find_folder(root, "0001", source="esd", bring=_ESD_BRING)
    for folder in sorted(path for path in root.glob("00[0-9][0-9]") if path.is_dir()):
        speaker, inside = int(folder.name), f"{folder.name}/{folder.name}.txt"
        texts = _esd_texts(find_file(root, inside, source="esd", bring=_ESD_BRING), speaker)
        for emotion in _ESD_EMOTIONS:
            for path in visible(folder / emotion, "**/*.wav"):
                if (name := _ESD_NAME.fullmatch(path.stem)) is None:
                    yield Skipped(id=relative_id(path, root), reason=_ODD_NAME, broken=True)
                    continue
                place = (int(name["number"]) - 1) % 350
                if place < 50:
                    yield of_split(path.stem, "validation" if place < 20 else "test")
                    continue
                yield Metadata(
                    id=path.stem,
                    audio=path.relative_to(root).as_posix(),
                    segments=spoken(texts.get(path.stem)),
                    attributes={
                        "Language": "Chinese" if speaker <= _ESD_MANDARIN else "English",
                        "Emotion": emotion_name(emotion),
                        "Gender": "Male" if speaker in _ESD_MEN else "Female",
                    },
                    split="train",
                )


def _esd_texts(path: Path, speaker: int) -> dict[str, str]:
    """Return id -> text out of lines `id text emotion`; the files differ in their encoding."""
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = content.decode("utf-16", errors="replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            legacy = "gb18030" if speaker <= _ESD_MANDARIN else "cp1252"
            text = content.decode(legacy, errors="replace")
    matches = (_ESD_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return {match["id"]: match["text"] for match in matches if match}


def read_emov_db(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield `bea_Amused/amused_1-15_0001.wav` or `bea/Amused/...`; texts are CMU Arctic's set A."""
    paths = list_files(root, ".", "**/*.wav", source="emov-db", bring=_EMOV_BRING)
    bring = "fetch it from the CMU Arctic pages of festvox.org"
    texts = _arctic_texts(find_file(root, _EMOV_TEXTS, source="emov-db", bring=bring))
    for path in paths:
        id, match = relative_id(path, root), _EMOV_NAME.fullmatch(path.stem)
        folders = (part.split("_")[0].lower() for part in path.relative_to(root).parts[:-1])
        speaker = next((folder for folder in folders if folder in _EMOV_GENDERS), None)
        if match is None or speaker is None:
            yield Skipped(id=id, reason=_ODD_NAME, broken=True)
            continue
        yield Metadata(
            id=id,
            audio=path.relative_to(root).as_posix(),
            segments=spoken(texts.get(match["sentence"])),
            attributes={
                "Emotion": emotion_name(match["emotion"]),
                "Gender": _EMOV_GENDERS[speaker],
            },
            group=f"voice/emov-db/{speaker}",
        )


def _arctic_texts(path: Path) -> dict[str, str]:
    """Return number -> sentence of set A, out of lines `( arctic_a0001 "..." )`."""
    return dict(re.findall(r'arctic_a(\d{4}) "(.*)"', read_text(path)))


EMOTION_ACTED_SOURCES = (
    Source(
        name="crema-d",
        title="CREMA-D, twelve sentences in six emotions by 91 actors",
        domains=("speech",),
        licence="ODbL-1.0",
        obtain="GitHub, CheyneyComputerScience/CREMA-D; the recordings come through Git LFS",
        layout="confirmed",
        cited="CheyneyComputerScience/CREMA-D: README.md, VideoDemographics.csv",
        read=read_crema_d,
    ),
    Source(
        name="ravdess",
        title="RAVDESS, two sentences in eight emotions by 24 actors",
        domains=("speech",),
        licence="CC-BY-NC-SA-4.0",
        obtain="Zenodo, record 1188976: Audio_Speech_Actors_01-24.zip",
        layout="confirmed",
        cited="robertjkeck2/EmoNet: server/data/RAVDESS/README.md",
        read=read_ravdess,
    ),
    Source(
        name="cafe",
        title="CaFE, six sentences in seven emotions in Canadian French",
        domains=("speech",),
        licence="CC-BY-NC-SA-4.0",
        obtain="Zenodo, record 1478765: CaFE_48k.zip",
        layout="confirmed",
        cited="emo-box/EmoBox: preprocess/scripts/cafe.py; felixbur/nkululeko: data/cafe",
        read=read_cafe,
    ),
    Source(
        name="emovo",
        title="EMOVO, fourteen sentences in seven emotions in Italian",
        domains=("speech",),
        licence="see its terms of use",
        obtain="Fondazione Ugo Bordoni, on its corpus page",
        layout="confirmed",
        cited="Strong-AI-Lab/emotion: datasets/EMOVO/process.py; EmoBox: scripts/emovo.py",
        read=read_emovo,
    ),
    Source(
        name="emns",
        title="EMNS, one woman telling stories in eight emotions",
        domains=("speech",),
        licence="Apache-2.0",
        obtain="OpenSLR, resource 136",
        layout="confirmed",
        cited="emo-box/EmoBox: preprocess/scripts/emns.py; felixbur/nkululeko: data/emns",
        read=read_emns,
    ),
    Source(
        name="esd",
        title="ESD, parallel sentences in five emotions, Mandarin and English",
        domains=("speech",),
        licence="see its agreement: research only",
        obtain="HLTSingapore/Emotional-Speech-Data on GitHub, after signing its agreement",
        layout="confirmed",
        cited="Strong-AI-Lab/emotion: datasets/ESD/process.py; EmoBox: scripts/esd.py",
        read=read_esd,
    ),
    Source(
        name="emov-db",
        title="EmoV-DB, CMU Arctic sentences in five emotional styles",
        domains=("speech",),
        licence="see its agreement: not for commercial use",
        obtain="OpenSLR, resource 115, and cmuarctic.data of CMU Arctic (festvox.org)",
        layout="confirmed",
        cited="numediart/EmoV-DB: README.md, emov_mfa_alignment.py; EmoBox: scripts/emovdb.py",
        read=read_emov_db,
    ),
)
