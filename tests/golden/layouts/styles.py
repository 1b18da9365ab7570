"""Corpora of speech in a stated style."""

from pathlib import Path

from corpora import OTHER_TEST, TEST, VALIDATION, Corpus, record, shard, sound, write


def make_expresso(root: Path) -> None:
    write(
        root,
        "read_transcriptions.txt",
        "ex01_confused_00001\tKaren's in Switzerland?",
        "ex04_default_emphasis_00010\tI said *no*.",
    )
    write(
        root,
        "splits/train.txt",
        "# comment",
        "ex01_confused_00001",
        "ex04_default_emphasis_00010",
        "ex04-ex01_laughing_001",
        "ex04_narration_longform_00001\t(13.87s,27.74s)",
        "ex03-ex01_confused_001\t(,60.0s)",
    )
    write(root, "splits/dev.txt", "ex01_confused_00366")
    write(root, "splits/test.txt", "ex01_confused_00400", "ex03-ex01_awe_001\t(60.0s,)")
    read = "audio_48khz/read"
    record(root, f"{read}/ex01/confused/base/ex01_confused_00001.wav")
    record(root, f"{read}/ex04/default/base/ex04_default_emphasis_00010.wav")


def make_prompttts(root: Path) -> None:
    write(
        root,
        "metadata.csv",
        "item_name,text,gender,pitch,speed,volume,emotion",
        "0001,Deeply engrossed in congenial work,F,low,slow,normal,cheerful",
    )
    record(root, "wavs/0001.wav")


def make_anispeech(root: Path) -> None:
    rows = [
        {
            "audio": {"bytes": sound(1.05), "path": "107_6.wav"},
            "caption": "You have no idea.",
            "voice": "3",
        },
        {"audio": {"bytes": None, "path": None}, "caption": "Lost.", "voice": "3"},
    ]
    shard(root, "data/ENGLISH-00000-of-00038.parquet", rows)


def make_paraspeechcaps(root: Path) -> None:
    row = {
        "source": "expresso",
        "relative_audio_path": "audio_48khz/read/ex01/sad/base/ex01_sad_00001.wav",
        "transcription": "So as a person who doesn't live in a bubble...",
        "intrinsic_tags": ["deep", "nasal"],
        "situational_tags": ["disgusted", "whispered"],
        "gender": "male",
        "accent": None,
        "pitch": "low-pitched",
        "speaking_rate": "measured speed",
        "noise": "quite clean environment",
    }
    segment = "audio_48khz/conversational_vad_segmented/ex04-ex02/sad"
    rows = [
        row,
        {**row, "source": "ears"},
        {**row, "relative_audio_path": "audio_48khz/read/ex01/sad/base/ex01_sad_00002.wav"},
        {
            **row,
            "relative_audio_path": f"{segment}/ex04-ex02_sad_001_channel1_segment_1.5_2.0.wav",
        },
        {
            **row,
            "source": "voxceleb",
            "relative_audio_path": "voxceleb1/test/wav/id10270/5r0dWxy17C8/00001.wav",
        },
    ]
    shard(root, "data/train_base-00000-of-00001.parquet", rows)
    shard(root, "data/dev-00000-of-00001.parquet", [row])
    shard(root, "data/holdout-00000-of-00001.parquet", [row, row])
    record(
        root,
        *(
            f"{row['source']}/{row['relative_audio_path']}"
            for row in rows
            if row["source"] != "ears"
        ),
    )
    write(root, "expresso/splits/dev.txt", "ex01_sad_00002")
    write(root, "expresso/splits/test.txt", "ex04-ex02_sad_001\t(60.0s,)")


CORPORA = {
    "expresso": Corpus(
        build=make_expresso,
        needed=(
            "splits/train.txt",
            "read_transcriptions.txt",
            "audio_48khz/read",
        ),
        left={
            "a part of a long recording": 2,
            "a conversation, not a sentence read aloud": 1,
            VALIDATION: 1,
            TEST: 2,
        },
    ),
    "prompttts": Corpus(
        build=make_prompttts,
        needed=(
            "metadata.csv",
            "wavs",
        ),
        left={},
    ),
    "anispeech": Corpus(
        build=make_anispeech, needed=("data/*.parquet",), left={"its row holds no sound": 1}
    ),
    "paraspeechcaps": Corpus(
        build=make_paraspeechcaps,
        needed=(
            "data/*.parquet",
            "expresso/splits/dev.txt",
            "expresso/splits/test.txt",
        ),
        left={
            "the corpus that holds its recording is not there": 1,
            OTHER_TEST: 3,
            VALIDATION: 1,
            TEST: 2,
        },
    ),
}
