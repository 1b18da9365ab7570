"""Corpora of natural or crowd-sourced speech with emotions by listeners.

The language is stated where it is not English throughout.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from desta.sources.base import (
    NOT_WHOLE,
    Metadata,
    Skipped,
    Source,
    find_file,
    find_folder,
    of_split,
    spoken,
)
from desta.sources.files import read_words
from desta.sources.glossary import emotion_name, gender_name, out_of
from desta.sources.tables import read_records, read_rows

_LABELS = "Labels/labels_consensus.csv"
_OLD_LABELS = "Labels/labels_concensus.csv"  # MSP-Podcast up to 1.8
_CLASSES = {
    "A": "Angry",
    "C": "Contemptuous",
    "D": "Disgusted",
    "F": "Fearful",
    "H": "Happy",
    "N": "Neutral",
    "S": "Sad",
    "U": "Surprised",
}
"""O (another) and X (no agreement) name no emotion."""
_SPLITS = {"development": "validation", "validation": "validation", "dev": "validation"}

_DUSHA_BRING = "unpack crowd.tar"
_DUSHA_KEYS = (
    *("hash_id", "audio_path", "annotator_emo", "golden_emo"),
    *("speaker_text", "speaker_emo", "source_id"),
)


def read_msp_podcast(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield what `Labels/labels_consensus.csv` lists; words lie in `Transcripts`, if it is there.

    Arousal, valence and dominance are means over listeners, from 1 to 7.
    """
    for row in _podcast_rows(root, "msp-podcast", "EmoAct", "EmoVal", "EmoDom"):
        if isinstance(row, Skipped):
            yield row
            continue
        yield _podcast_clip(
            root,
            row,
            {
                "Emotion": _CLASSES.get(row["EmoClass"]),
                "Gender": gender_name(row.get("Gender")),
                "Arousal": out_of(row["EmoAct"], 7),
                "Valence": out_of(row["EmoVal"], 7),
                "Dominance": out_of(row["EmoDom"], 7),
            },
        )


def read_biic_podcast(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield what `Labels/labels_consensus.csv` lists: Taiwanese podcasts, labelled as MSP's."""
    for row in _podcast_rows(root, "biic-podcast"):
        if isinstance(row, Skipped):
            yield row
            continue
        label = row["EmoClass"]
        attributes = {
            "Language": "Chinese",
            "Emotion": _CLASSES.get(label) or emotion_name(label),
            "Gender": gender_name(row.get("Gender")),
        }
        yield _podcast_clip(root, row, attributes)


def _podcast_rows(root: Path, source: str, *scales: str) -> Iterator[dict[str, str] | Skipped]:
    """Yield the rows of the training split, and skips for the others."""
    bring = "unpack Labels and Audios of the release"
    inside = _OLD_LABELS if (root / _OLD_LABELS).is_file() else _LABELS
    table = find_file(root, inside, source=source, bring=bring)
    find_folder(root, "Audios", source=source, bring=bring)
    columns = ("FileName", "EmoClass", "Split_Set", *scales)
    for row in read_rows(table, *columns):
        split = row["Split_Set"].lower()
        if split.startswith("train"):
            yield row
        elif split.startswith("test"):
            yield of_split(Path(row["FileName"]).stem, "test")
        elif split in _SPLITS:
            yield of_split(Path(row["FileName"]).stem, _SPLITS[split])
        else:
            yield Skipped(id=Path(row["FileName"]).stem, reason="of no official split")


def _podcast_clip(root: Path, row: dict[str, str], attributes: dict[str, str | None]) -> Metadata:
    name = Path(row["FileName"]).name
    return Metadata(
        id=Path(name).stem,
        audio=f"Audios/{name}",
        segments=spoken(read_words(root / "Transcripts" / f"{Path(name).stem}.txt")),
        attributes=attributes,
        split="train",
    )


def read_dusha(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield the crowd's part: the podcasts' recordings are not distributed.

    A line of `raw_crowd_train.jsonl` is one listener's judgement; more than half of a recording's
    listeners must agree. Recordings that only test the listeners (`golden_emo`) are left out.
    """
    inside = "crowd_train/raw_crowd_train.jsonl"
    table = find_file(root, inside, source="dusha", bring=_DUSHA_BRING)
    find_folder(root, "crowd_train/wavs", source="dusha", bring=_DUSHA_BRING)
    rows: dict[str, dict[str, str]] = {}
    votes: dict[str, Counter[str]] = {}
    for number, row in enumerate(read_records(table, *_DUSHA_KEYS), start=1):
        if not row["hash_id"]:
            yield Skipped(id=f"row-{number}", reason=NOT_WHOLE, broken=True)
            continue
        rows.setdefault(row["hash_id"], row)
        votes.setdefault(row["hash_id"], Counter())[row["annotator_emo"]] += 1
    for id, row in rows.items():
        label, count = votes[id].most_common(1)[0]
        emotion = emotion_name(label)
        if row["golden_emo"]:
            yield Skipped(id=id, reason="a test of the listeners")
        elif 2 * count <= votes[id].total():
            yield Skipped(id=id, reason="its listeners disagree")
        elif emotion is None:
            yield Skipped(id=id, reason="its listeners heard another emotion")
        else:
            yield Metadata(
                id=id,
                audio=f"crowd_train/{row['audio_path']}",
                segments=spoken(row["speaker_text"] or None),
                attributes={
                    "Language": "Russian",
                    "Emotion": emotion,
                    "Speaker": row["source_id"],
                    "Intended emotion": emotion_name(row["speaker_emo"]),
                },
                split="train",
            )
    test = root / "crowd_test/raw_crowd_test.jsonl"
    if test.is_file():
        for id in dict.fromkeys(row["hash_id"] for row in read_records(test, "hash_id")):
            yield of_split(id, "test")


EMOTION_WILD_SOURCES = (
    Source(
        name="msp-podcast",
        title="MSP-Podcast, emotions judged in podcasts",
        domains=("speech",),
        licence="see its agreement: academic, or a paid commercial licence",
        obtain="MSP Lab, after an institution has signed the agreement",
        layout="confirmed",
        cited="Strong-AI-Lab/emotion: datasets/MSP-PODCAST/process.py; nkululeko: data/msp-podcast",
        read=read_msp_podcast,
    ),
    Source(
        name="biic-podcast",
        title="BIIC-Podcast, emotions judged in Taiwanese Mandarin podcasts",
        domains=("speech",),
        licence="see its agreement: academic",
        obtain="BIIC Lab, National Tsing Hua University, after signing the agreement",
        layout="believed",
        cited="taken to be laid out as MSP-Podcast, whose way of collecting it follows",
        read=read_biic_podcast,
    ),
    Source(
        name="dusha",
        title="Dusha, emotions judged in Russian requests to an assistant",
        domains=("speech",),
        licence="see its agreement (license/en_us.pdf of salute-developers/golos)",
        obtain="the links in salute-developers/golos on GitHub: crowd.tar",
        layout="confirmed",
        cited="salute-developers/golos: dusha/data_processing (processing.py, utils)",
        read=read_dusha,
    ),
)
