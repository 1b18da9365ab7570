"""Corpora of emotions, dialogues, styles and voices, each in the layout in which it unpacks.

Delete a `*_descriptions.json` and run this to write it anew.
"""

import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from desta.construction.description import describe as write_description
from desta.errors import DataError
from desta.records import Clip
from desta.sources import SOURCES
from desta.sources.base import Source
from desta.sources.describe import Description, describe
from desta.sources.speech.dialogue import DIALOGUE_SOURCES
from desta.sources.speech.emotion_acted import EMOTION_ACTED_SOURCES
from desta.sources.speech.emotion_wild import EMOTION_WILD_SOURCES
from desta.sources.speech.styles import STYLE_SOURCES
from desta.sources.speech.voices import VOICE_SOURCES

FAMILIES: Mapping[str, Sequence[Source]] = {
    "dialogue": DIALOGUE_SOURCES,
    "emotion_acted": EMOTION_ACTED_SOURCES,
    "emotion_wild": EMOTION_WILD_SOURCES,
    "styles": STYLE_SOURCES,
    "voices": VOICE_SOURCES,
}
NAMES = [source.name for sources in FAMILIES.values() for source in sources]
EMOTIONS = {
    *("Amused", "Angry", "Contemptuous", "Disgusted", "Excited", "Fearful", "Frustrated", "Happy"),
    *("Neutral", "Sad", "Sarcastic", "Sleepy", "Surprised"),
}


def sound(seed: int) -> bytes:
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, 400 + 4_000 * (1 + seed % 5))
    buffer = io.BytesIO()
    soundfile.write(buffer, noise, 8_000, format="WAV")
    return buffer.getvalue()


def record(root: Path, *names: str) -> None:
    """Write recordings; they are known by their content, so any suffix will do."""
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound(seed))


def write(root: Path, name: str, *lines: str, encoding: str = "utf-8") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding=encoding)


def shard(root: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


def make_crema_d(root: Path) -> None:
    write(
        root,
        "VideoDemographics.csv",
        '"ActorID","Age","Sex","Race","Ethnicity"',
        '1001,51,"Male","Caucasian","Not Hispanic"',
        '1047,22,"Female","Unknown","Hispanic"',
        '1076,25,"Female","Caucasian","Not Hispanic"',
    )
    record(root, "AudioWAV/1001_IEO_ANG_HI.wav", "AudioWAV/1047_TSI_NEU_XX.wav")
    record(root, "AudioWAV/1076_MTI_SAD_XX.wav", "AudioWAV/1001_ieo.wav")


def make_cafe(root: Path) -> None:
    record(root, "Colère/Faible/01-C-1-3.wav", "Neutre/12-N-1-1.wav", "Test/son.wav")


def make_emovo(root: Path) -> None:
    record(root, "f1/dis-f1-l4.wav", "m2/gio-m2-b1.wav", "m2/note.wav")


def make_emns(root: Path) -> None:
    write(
        root,
        "metadata.csv",
        "id|utterance|description|emotion|date_created|status|gender|age|level|audio_recording"
        "|user_id",
        "1|He was a plucked instrument instructor, and a proud one.|Happy: plucked|Happy"
        "|2022-01-01|Complete|Female|20s|7|wavs/recorded_audio_0bJpmSM.webm|3",
        "2|Oh, how lovely.||Sarcastic|2022-01-01|Complete|Female|20s|4"
        "|wavs/recorded_audio_1.webm|3",
        "3|Oh.||Sad|2022-01-01|Needs Updating|Female|20s|4||3",
    )
    record(root, "cleaned_webm/recorded_audio_0bJpmSM.webm", "cleaned_webm/recorded_audio_1.webm")


def make_esd(root: Path) -> None:
    write(root, "0001/0001.txt", "0001_000401\t我每个月打一次电话。\t生气", encoding="gb18030")
    write(
        root,
        "0011/0011.txt",
        "0011_000001\tThe nine the eggs, I keep.\tNeutral",
        "0011_001101\tTom could hear the clock.\tSad",
        encoding="utf-16",
    )
    record(root, "0001/Angry/0001_000401.wav", "0011/Sad/train/0011_001101.wav")
    record(root, "0011/Neutral/evaluation/0011_000001.wav", "0011/Neutral/test/0011_000050.wav")


def make_emov_db(root: Path) -> None:
    write(root, "cmuarctic.data", '( arctic_a0001 "Author of the danger trail." )')
    record(root, "bea_Amused/amused_1-15_0001.wav", "josh/Sleepy/sleepiness_1-28_0002.wav")
    record(root, "sam/Angry/Angry.wav")


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
    write(root, "crowd_test/raw_crowd_test.jsonl", *judged("f6", "sad", "sad"))
    record(root, "crowd_train/wavs/a1.wav", "crowd_train/wavs/e5.wav")


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
        }
    }
    write(root, "metadata.json", json.dumps(dialogues))
    record(root, "data/0/0_0_d0.wav", "data/0/1_1_d0.wav")


def make_expresso(root: Path) -> None:
    write(
        root,
        "read_transcriptions.txt",
        "ex01_confused_00001\tKaren's in Switzerland?",
        "ex04_default_emphasis_00010\tI said no.",
    )
    write(
        root,
        "splits/train.txt",
        "# comment",
        "ex01_confused_00001",
        "ex04_default_emphasis_00010",
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
            "audio": {"bytes": sound(1), "path": "107_6.wav"},
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
        "noise": "quite clear",
    }
    shard(root, "data/train_base-00000-of-00001.parquet", [row, {**row, "source": "ears"}])
    shard(root, "data/dev-00000-of-00001.parquet", [row])
    shard(root, "data/holdout-00000-of-00001.parquet", [row, row])
    record(root, f"expresso/{row['relative_audio_path']}")


def make_globe(root: Path) -> None:
    row = {
        "audio": {"bytes": sound(3), "path": "common_voice_en_1.wav"},
        "speaker_id": "S_000016",
        "transcript": "the belts needed periodic cleaning",
        "accent": "United States English",
        "age": "teens",
        "gender": "male",
    }
    other = {
        **row,
        "audio": {"bytes": sound(4), "path": "b.wav"},
        "age": "fourties",
        "accent": None,
    }
    shard(root, "data/train-00000-of-00002.parquet", [row])
    shard(root, "data/train-00001-of-00002.parquet", [other])
    shard(root, "data/val-00000-of-00001.parquet", [row])
    shard(root, "data/test-00000-of-00001.parquet", [row, row])


def make_common_voice(root: Path) -> None:
    new = (
        "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage"
        "\tgender\taccents"
    )
    old = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"
    write(
        root,
        "en/train.tsv",
        new,
        'c\tcommon_voice_en_1.mp3\ts\tThe boy swore "that" it\'s true.\t\t2\t0\tthirties'
        "\tmale_masculine\tWest Indies and Bermuda",
    )
    write(root, "en/dev.tsv", new, "c\tcommon_voice_en_2.mp3\ts\tHello.\t\t2\t0\t\t\t")
    write(root, "en/test.tsv", new, "c\tcommon_voice_en_3.mp3\ts\tHello.\t\t2\t0\t\t\t")
    write(root, "zh-CN/train.tsv", old, "c\tcommon_voice_zh-CN_1.mp3\t宋朝末年\t2\t0\t\tfemale\t")
    record(root, "en/clips/common_voice_en_1.mp3", "zh-CN/clips/common_voice_zh-CN_1.mp3")


def make_voxceleb1(root: Path) -> None:
    write(
        root,
        "vox1_meta.csv",
        "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet",
        "id10001\tA.J._Buckley\tm\tIreland\tdev",
        "id10270\tEartha_Kitt\tf\tUSA\ttest",
    )
    videos = ("id10001/1zcIwhmdeo4", "id10270/5r0dWxy17C8", "id99999/5r0dWxy17C8")
    record(root, *(f"wav/{video}/00001.wav" for video in videos))


BUILDERS: Mapping[str, Callable[[Path], None]] = {
    "anispeech": make_anispeech,
    "biic-podcast": lambda root: make_podcast(root, labels="labels_consensus.csv"),
    "cafe": make_cafe,
    "common-voice": make_common_voice,
    "crema-d": make_crema_d,
    "dailytalk": make_dailytalk,
    "dusha": make_dusha,
    "emns": make_emns,
    "emov-db": make_emov_db,
    "emovo": make_emovo,
    "esd": make_esd,
    "expresso": make_expresso,
    "globe": make_globe,
    "iemocap": make_iemocap,
    "meld": make_meld,
    "msp-improv": make_msp_improv,
    "msp-podcast": lambda root: make_podcast(root, labels="labels_concensus.csv"),
    "paraspeechcaps": make_paraspeechcaps,
    "prompttts": make_prompttts,
    "voxceleb1": make_voxceleb1,
}

ODD = "its name is not of the form that the corpus documents"
VALIDATION, TEST = "of the official validation split", "of the official test split"
LEFT: Mapping[str, Mapping[str, int]] = {
    "anispeech": {"its row holds no sound": 1},
    "biic-podcast": {VALIDATION: 1, TEST: 1},
    "cafe": {ODD: 1},
    "common-voice": {VALIDATION: 1, TEST: 1},
    "crema-d": {"it is silent": 1, ODD: 1},
    "dailytalk": {},
    "dusha": {
        "its listeners disagree": 1,
        "its listeners heard another emotion": 1,
        "a test of the listeners": 1,
        TEST: 1,
    },
    "emns": {"its recording was withdrawn": 1},
    "emov-db": {ODD: 1},
    "emovo": {ODD: 1},
    "esd": {VALIDATION: 1, TEST: 1},
    "expresso": {"a part of a long recording": 2, VALIDATION: 1, TEST: 2},
    "globe": {VALIDATION: 1, TEST: 2},
    "iemocap": {},
    "meld": {VALIDATION: 1, TEST: 1},
    "msp-improv": {"no label for it": 1},
    "msp-podcast": {VALIDATION: 1, TEST: 1},
    "paraspeechcaps": {
        "the corpus that holds its recording is not there": 1,
        VALIDATION: 1,
        TEST: 2,
    },
    "prompttts": {},
    "voxceleb1": {"its speaker is not in vox1_meta.csv": 1, TEST: 1},
}
NEEDED = (
    ("anispeech", "data/*.parquet"),
    ("biic-podcast", "Labels/labels_consensus.csv"),
    ("biic-podcast", "Audios"),
    ("cafe", "**/*.wav"),
    ("common-voice", "en/train.tsv"),
    ("common-voice", "zh-CN/clips"),
    ("crema-d", "VideoDemographics.csv"),
    ("crema-d", "AudioWAV"),
    ("dailytalk", "metadata.json"),
    ("dailytalk", "data"),
    ("dusha", "crowd_train/raw_crowd_train.jsonl"),
    ("dusha", "crowd_train/wavs"),
    ("emns", "metadata.csv"),
    ("emns", "cleaned_webm"),
    ("emov-db", "cmuarctic.data"),
    ("emovo", "**/*.wav"),
    ("esd", "0011/0011.txt"),
    ("esd", "0001"),
    ("expresso", "splits/train.txt"),
    ("expresso", "read_transcriptions.txt"),
    ("expresso", "audio_48khz/read"),
    ("globe", "data/*.parquet"),
    ("iemocap", "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"),
    ("iemocap", "Session1/dialog/transcriptions/Ses01F_impro01.txt"),
    ("iemocap", "Session1/sentences/wav"),
    ("meld", "train/train_sent_emo.csv"),
    ("meld", "train/train_splits"),
    ("msp-improv", "Evaluation.txt"),
    ("msp-improv", "**/MSP-IMPROV-*.wav"),
    ("msp-podcast", "Audios"),
    ("paraspeechcaps", "data/*.parquet"),
    ("paraspeechcaps", "expresso"),
    ("prompttts", "metadata.csv"),
    ("prompttts", "wavs"),
    ("voxceleb1", "vox1_meta.csv"),
    ("voxceleb1", "wav"),
)


def described(name: str, root: Path) -> Description:
    return describe(SOURCES[name], root, max_broken_share=1.0)


def built(name: str, root: Path) -> Description:
    BUILDERS[name](root)
    return described(name, root)


@pytest.mark.parametrize("family", FAMILIES)
def test_seed_descriptions_are_as_stored(tmp_path: Path, family: str) -> None:
    written = {}
    for source in FAMILIES[family]:
        root = tmp_path / source.name
        root.mkdir()
        written[source.name] = [write_description(c) for c in built(source.name, root).clips]

    golden = Path(__file__).with_name(f"{family}_descriptions.json")
    if not golden.exists():
        text = json.dumps(written, ensure_ascii=False, indent=2)
        golden.write_text(f"{text}\n", encoding="utf-8")
        pytest.fail(f"{golden.name} was missing and is written: look at it, then run this again")

    assert written == json.loads(golden.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_left_out_is_counted_with_its_reason(tmp_path: Path, name: str) -> None:
    description = built(name, tmp_path)

    assert {left.reason: left.count for left in description.skipped} == LEFT[name]


@pytest.mark.parametrize("name", NAMES)
def test_clips_keep_to_the_words_of_the_glossary(tmp_path: Path, name: str) -> None:
    clips: Sequence[Clip] = built(name, tmp_path).clips

    for clip in clips:
        assert clip.attributes.get("Gender", "Male") in ("Female", "Male")
        if name != "prompttts":  # its tags are a synthesiser's own
            assert clip.attributes.get("Emotion", "Sad") in EMOTIONS
        assert all(key == key[0].upper() + key[1:] for key in clip.attributes)
    assert max(Counter(clip.id for clip in clips).values()) == 1


@pytest.mark.parametrize("name", [n for n in NAMES if VALIDATION in LEFT[n] or TEST in LEFT[n]])
def test_of_official_splits_only_the_training_split_is_read(tmp_path: Path, name: str) -> None:
    assert {clip.split for clip in built(name, tmp_path).clips} == {"train"}


@pytest.mark.parametrize(("name", "missing"), NEEDED)
def test_a_missing_file_is_named(tmp_path: Path, name: str, missing: str) -> None:
    BUILDERS[name](tmp_path)
    for path in list(tmp_path.glob(missing)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    with pytest.raises(DataError) as caught:
        described(name, tmp_path)
    assert caught.value.message.startswith(f"{name}: ")
    assert Path(missing).name in caught.value.message
    assert "desta describe custom" in caught.value.fix


def test_every_corpus_is_tested_without_something_it_needs() -> None:
    assert {name for name, _ in NEEDED} == set(NAMES) == set(BUILDERS)


def test_the_sounds_of_a_hub_data_set_are_written_once(tmp_path: Path) -> None:
    first = built("globe", tmp_path)
    paths = [tmp_path / clip.audio for clip in first.clips]
    times = [path.stat().st_mtime_ns for path in paths]

    again = described("globe", tmp_path)

    assert again == first
    assert [path.stat().st_mtime_ns for path in paths] == times
    assert sorted(path for path in (tmp_path / "recordings").rglob("*.*")) == sorted(paths)


def test_a_shard_that_is_cut_off_is_named(tmp_path: Path) -> None:
    make_globe(tmp_path)
    path = tmp_path / "data/train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DataError, match=path.name):
        described("globe", tmp_path)


def test_a_row_that_leads_out_of_the_corpus_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    make_common_voice(root)
    record(tmp_path, "secret.mp3")
    with (root / "en/train.tsv").open("a", encoding="utf-8") as file:
        file.write("c\t../../../secret.mp3\ts\tHello.\t\t2\t0\t\t\t\n")

    description = described("common-voice", root)

    assert len(description.clips) == 2
    assert "the recording lies outside the root" in [left.reason for left in description.skipped]


def test_a_table_of_another_release_names_the_column_that_it_lacks(tmp_path: Path) -> None:
    make_common_voice(tmp_path)
    write(tmp_path, "en/train.tsv", "client_id\tpath\ttext", "c\tx.mp3\tHello.")

    with pytest.raises(DataError, match='no column "sentence"'):
        described("common-voice", tmp_path)
