"""Corpora of emotions that listeners judged."""

import json
from functools import partial
from pathlib import Path

from corpora import NOT_WHOLE, TEST, VALIDATION, Corpus, record, write


def make_podcast(root: Path, *, labels: str) -> None:
    write(
        root,
        f"Labels/{labels}",
        "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set",
        "MSP-PODCAST_0001_0008.wav,N,3.0,3.555556,4.0,30,Unknown,Train",
        "MSP-PODCAST_0002_0001.wav,X,2.2,4.0,2.6,39,Female,Train",
        "MSP-PODCAST_0003_0001.wav,H,2.2,4.0,2.6,39,Male,Test1",
        "MSP-PODCAST_0003_0002.wav,H,2.2,4.0,2.6,39,Male,Development",
    )
    record(root, "Audios/MSP-PODCAST_0001_0008.wav", "Audios/MSP-PODCAST_0002_0001.wav")
    write(root, "Transcripts/MSP-PODCAST_0001_0008.txt", "yeah. so we're going to end this")


def make_dusha(root: Path) -> None:
    def judged(id: str, *emotions: str, golden: str | None = None) -> list[str]:
        row = {
            "hash_id": id,
            "audio_path": f"wavs/{id}.wav",
            "duration": "1.0",
            "golden_emo": golden,
            "speaker_text": "афина поприкольней было чем джой",
            "speaker_emo": "positive",
            "source_id": "f0a1",
        }
        votes = ({**row, "annotator_emo": emotion, "annotator_id": "a"} for emotion in emotions)
        return [json.dumps(vote, ensure_ascii=False) for vote in votes]

    write(
        root,
        "crowd_train/raw_crowd_train.jsonl",
        *judged("a1", "angry", "angry", "sad"),
        *judged("b2", "angry", "sad"),
        *judged("c3", "other", "other"),
        *judged("d4", "sad", golden="sad"),
        *judged("e5", "positive"),
    )
    with (root / "crowd_train/raw_crowd_train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"audio_path": "wavs/g7.wav"}) + "\n")
    write(root, "crowd_test/raw_crowd_test.jsonl", *judged("f6", "sad", "sad"))
    record(root, "crowd_train/wavs/a1.wav", "crowd_train/wavs/e5.wav")


CORPORA = {
    "msp-podcast": Corpus(
        build=partial(make_podcast, labels="labels_concensus.csv"),
        needed=(
            "Labels/labels_con*ensus.csv",
            "Audios",
        ),
        left={VALIDATION: 1, TEST: 1},
    ),
    "biic-podcast": Corpus(
        build=partial(make_podcast, labels="labels_consensus.csv"),
        needed=(
            "Labels/labels_con*ensus.csv",
            "Audios",
        ),
        left={VALIDATION: 1, TEST: 1},
    ),
    "dusha": Corpus(
        build=make_dusha,
        needed=(
            "crowd_train/raw_crowd_train.jsonl",
            "crowd_train/wavs",
        ),
        left={
            "its listeners disagree": 1,
            "its listeners heard another emotion": 1,
            "a test of the listeners": 1,
            NOT_WHOLE: 1,
            TEST: 1,
        },
    ),
}
