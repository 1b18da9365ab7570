"""Corpora of conversations."""

import json
from pathlib import Path

from corpora import NOT_WHOLE, TEST, VALIDATION, Corpus, record, write


def make_iemocap(root: Path) -> None:
    name = "Ses01F_impro01"
    write(
        root,
        f"Session1/dialog/EmoEvaluation/{name}.txt",
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]",
        f"[6.2901 - 8.2357]\t{name}_F000\tneu\t[2.5000, 2.5000, 2.5000]",
        "C-E2:\tNeutral;\t()",
        f"[10.0100 - 11.3925]\t{name}_M000\txxx\t[2.5000, 2.5000, 2.5000]",
    )
    write(
        root,
        f"Session1/dialog/transcriptions/{name}.txt",
        f"{name}_F000 [006.2901-008.2357]: Excuse me?",
        f"{name}_M000 [010.0100-011.3925]: [LAUGHTER] Do you have your forms?",
    )
    record(root, *(f"Session1/sentences/wav/{name}/{name}_{turn}.wav" for turn in ("F000", "M000")))
    record(root, f"Session1/sentences/wav/{name}/._{name}_F000.wav")


def make_meld(root: Path) -> None:
    header = (
        "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,"
        "StartTime,EndTime"
    )
    times = '"00:20:57,256","00:21:00,049"'
    write(
        root,
        "train/train_sent_emo.csv",
        header,
        f'1,"Oh my God, he\x92s lost it.",Phoebe,sadness,negative,0,0,4,7,{times}',
        f"2,What?,A Waiter,joy,positive,0,1,4,7,{times}",
    )
    write(root, "dev_sent_emo.csv", header, f"1,Hi.,Ross,neutral,neutral,3,4,4,7,{times}")
    write(root, "test_sent_emo.csv", header, f"1,Hi.,Ross,neutral,neutral,3,4,4,7,{times}")
    record(root, *(f"train/train_splits/dia0_utt{number}.mp4" for number in (0, 1)))


def make_msp_improv(root: Path) -> None:
    first, second, third = (f"MSP-IMPROV-S01A-{turn}" for turn in ("F01-P-FM01", "M01-R-FM02", "x"))
    write(
        root,
        "Evaluation.txt",
        f"{first.replace('MSP', 'UTD')}.avi; A; A:3.0; V:2.2; D:3.2 ; N:4.4;",
        "XX1; Anger; A:3.0; V:2.0; D:3.0 ; N:4.0;",
        f"{second.replace('MSP', 'UTD')}.avi; X; A:NaN; V:2.6; D:3.0 ; N:NaN;",
    )
    record(root, f"Audio/session1/S01A/P/{first}.wav", f"Audio/session1/S01A/R/{second}.wav")
    record(root, f"Audio/session1/S01A/S/{third}.wav")
    write(root, f"All_human_transcriptions/{first}.txt", "Yeah, well I'm going to go to class.")


def make_dailytalk(root: Path) -> None:
    turn = {"topic": 10, "text": "I'm figuring out my budget.", "act": "inform"}
    dialogues = {
        "0": {
            "0": {**turn, "speaker": 0, "emotion": "no emotion"},
            "1": {**turn, "speaker": 1, "emotion": "happiness", "text": "Oh, good!"},
            "2": {"speaker": None},
        }
    }
    write(root, "metadata.json", json.dumps(dialogues))
    record(root, "data/0/0_0_d0.wav", "data/0/1_1_d0.wav")


CORPORA = {
    "iemocap": Corpus(
        build=make_iemocap,
        needed=(
            "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
            "Session1/dialog/transcriptions/Ses01F_impro01.txt",
            "Session1/sentences/wav",
        ),
        left={},
    ),
    "meld": Corpus(
        build=make_meld,
        needed=(
            "train/train_sent_emo.csv",
            "train/train_splits",
        ),
        left={VALIDATION: 1, TEST: 1},
    ),
    "msp-improv": Corpus(
        build=make_msp_improv,
        needed=(
            "Evaluation.txt",
            "All_human_transcription?",
            "**/MSP-IMPROV-*.wav",
        ),
        left={"no label for it": 1},
    ),
    "dailytalk": Corpus(
        build=make_dailytalk,
        needed=(
            "metadata.json",
            "data",
        ),
        left={NOT_WHOLE: 1},
    ),
}
