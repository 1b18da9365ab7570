"""Corpora of speech in the layouts in which they unpack, and the seed descriptions of their clips.

Delete a `*_descriptions.json` and run this to write it anew.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from desta.construction.description import describe as describe_clip
from desta.errors import DataError
from desta.sources import find_source
from desta.sources.describe import Description, describe

GOLDEN = Path(__file__).parent


def noise(seconds: float, channels: int = 1) -> np.ndarray:
    samples = round(seconds * 16_000)
    # each length its own noise: equal recordings would be one to the splits
    return np.random.default_rng(samples).uniform(-0.1, 0.1, (samples, channels))


def record(path: Path, seconds: float, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(seconds, channels), 16_000)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_parquet(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def sound(seconds: float, name: str = "x.wav") -> dict[str, object]:
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(seconds), 16_000, format="WAV")
    return {"bytes": buffer.getvalue(), "path": name}


def vctk(root: Path) -> None:
    corpus = root / "VCTK-Corpus-0.92"
    write(
        corpus / "speaker-info.txt",
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"
        "p225  23  F    English    Southern  England\n"
        "p280  25  F    Unknown    France (mic2 files unavailable)\n"
        "p335  25  F    NewZealand English\n"
        "p315  18  M    American   New England (Text unavailable)\n",
    )
    for number, name in enumerate(
        (
            "p225/p225_001_mic1",
            "p225/p225_001_mic2",
            "p280/p280_001_mic1",
            "p315/p315_001_mic2",
            "p335/p335_001_mic2",
        ),
        start=1,
    ):
        record(corpus / "wav48_silence_trimmed" / f"{name}.flac", number / 2)
    for speaker, words in {
        "p225": "Please call Stella.",
        "p280": "Six spoons.",
        "p335": "Three red bags.",
    }.items():
        write(corpus / "txt" / speaker / f"{speaker}_001.txt", f"{words}\n")


def accentdb(root: Path) -> None:
    record(root / "accentdb_extended/data/odiya/speaker_01/odiya_s01_001.wav", 1)
    record(root / "accentdb_extended/data/welsh/speaker_01/welsh_s01_001.wav", 2)


def fair_speech(root: Path) -> None:
    write(
        root / "fairspeech_metadata.tsv",
        "hash_name\ttranscription\tage\tgender\tfirst_language\tsocioeconomic_bkgd\tethnicity\n"
        "1a2b\they facebook call my mother\t31 - 45\tmale\tEnglish\tMedium"
        "\tBlack or African American\n"
        "../3c\tplay a song\t18 - 22\tfemale\tSpanish\tLow\tHispanic, Latino, or Spanish\n",
    )
    record(root / "asr_fairness_audio/1a2b.wav", 2)
    record(root / "asr_fairness_audio/3c.wav", 3)


def speech_accent_archive(root: Path) -> None:
    write(root / "reading-passage.txt", "Please call Stella.\nAsk her to bring these things.\n")
    write(
        root / "speakers_all.csv",
        "age,age_onset,birthplace,filename,native_language,sex,speakerid,country,file_missing?\n"
        '27.0,9.0,"virginia, south africa",afrikaans1,afrikaans,female,1,south africa,False\n'
        '31,0,"pittsburgh, pennsylvania, usa",english3,english,male,2,usa,FALSE\n'
        "0,0,,synthesized1,synthesized,male,3,,FALSE\n"
        "24,5,,balanta,balanta,male,4,senegal,TRUE\n",
    )
    record(root / "recordings/recordings/afrikaans1.mp3", 2)
    record(root / "recordings/recordings/english3.mp3", 3)


def l2_arctic(root: Path) -> None:
    record(root / "ABA/wav/arctic_a0001.wav", 1)
    record(root / "ABA/wav/arctic_a0002.wav", 2)
    write(root / "ABA/transcript/arctic_a0001.txt", "Author of the danger trail")
    record(root / "suitcase_corpus/wav/tni.wav", 3)
    write(root / "suitcase_corpus/transcript/tni.txt", "One day a man and a woman met")


def kespeech(root: Path) -> None:
    for part, id, text, dialect in (
        ("train_phase1", "1000048_fd3b", "看重成长质量 <SPOKEN_NOISE>", "Mandarin"),
        ("train_phase2", "1000049_0a1b", "我每个月打一次电话", "Southwestern"),
        ("dev_phase1", "1000050_aaaa", "你好", "Beijing"),
        ("test", "1000051_bbbb", "再见", "Beijing"),
    ):
        tables = root / "Tasks/ASR" / part
        write(tables / "wav.scp", f"{id} Audio/{id}.wav\nout ../../{id}.wav\n")
        write(tables / "text", f"{id} {text}\n")
        write(tables / "utt2spk", f"{id} {id[:7]}\n")
        write(tables / "utt2subdialect", f"{id} {dialect}\n")
        record(root / f"Audio/{id}.wav", int(id[6]))


def libritts_r(root: Path) -> None:
    corpus = root / "LibriTTS_R"
    write(
        corpus / "speakers.tsv",
        "READER\tGENDER\tSUBSET\tNAME\n103\tF\ttrain-clean-100\tKaren Savage\n",
    )
    for number, name in enumerate(
        ("train-clean-100/103/1240/103_1240_000000_000001", "dev-clean/84/1/84_1_000000_000000"), 1
    ):
        record(corpus / f"{name}.wav", number)
        write(corpus / f"{name}.normalized.txt", "mister Quilter has missed his chance.")
    record(corpus / "train-clean-100/103/1240/103_1240_000000_000002.wav", 3)


def alimeeting(root: Path) -> None:
    def tier(name: str, *intervals: tuple[float, float, str]) -> str:
        body = "".join(
            f"        intervals [{number}]:\n            xmin = {start}\n            xmax = {end}\n"
            f'            text = "{text}"\n'
            for number, (start, end, text) in enumerate(intervals, start=1)
        )
        return (
            f'    item [1]:\n        class = "IntervalTier"\n        name = "{name}"\n'
            f"        xmin = 0\n        xmax = 80\n{body}"
        )

    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 80\nitem []:\n'
    write(
        root / "Train_Ali_far/textgrid_dir/R0003_M0046.TextGrid",
        head
        + tier(
            "N_R0003S0046_F_SPK0093", (0.5, 3.2, "我们开始吧<sil>"), (3.2, 20, ""), (20, 29, "好")
        )
        + tier(
            "N_R0003S0046_M_SPK0094", (2.8, 5, "可以"), (35, 38, '他说""再见""'), (40, 75, "嗯")
        ),
    )
    record(root / "Train_Ali_far/audio_dir/R0003_M0046_MS002.wav", 76, channels=2)
    write(root / "Train_Ali_far/textgrid_dir/R0009_M0001.TextGrid", head)
    write(root / "Test_Ali/Test_Ali_far/textgrid_dir/R8001_M8004.TextGrid", head)


def libricount(root: Path) -> None:
    speakers = [{"sex": "F", "activity": [[0, 70000]], "speaker_id": 61}] * 2
    for name, listed in (("0_a", []), ("2_b", speakers)):
        record(root / f"test/{name}.wav", 5 + len(listed))
        write(root / f"test/{name}.json", json.dumps(listed))
    record(root / "test/3_c.wav", 4)


def speech_commands(root: Path) -> None:
    for number, name in enumerate(("yes/a_nohash_0", "yes/b_nohash_0", "no/c_nohash_1"), start=1):
        record(root / f"{name}.wav", number)
    record(root / "no/d_nohash_0.wav", 4)
    record(root / "_background_noise_/pink_noise.wav", 5)
    write(root / "validation_list.txt", "yes/b_nohash_0.wav\n")
    write(root / "testing_list.txt", "no/c_nohash_1.wav\n")


def voxlingua107(root: Path) -> None:
    record(root / "iw/2Ux___0000.wav", 1)
    record(root / "haw/abc__U__S3---0123.450-0126.450.wav", 3)
    record(root / "dev/en/abc__U__S3---0123.450-0126.450.wav", 2)


def cszs(root: Path) -> None:
    for split, seconds in (("train", 1), ("dev", 2)):
        row = {
            "correct_audio": sound(seconds),
            "correct_transcription": "En el presente, los interactive kiosks.",
            "wrong_audio": sound(seconds),
            "wrong_transcription": "En el presente, los interactive pantallas.",
        }
        empty = {**row, "correct_audio": {"bytes": None, "path": None}}
        write_parquet(root / f"cszs_es_en/data/{split}-00000-of-00001.parquet", [row, empty])


def ntuml2021(root: Path) -> None:
    rows = [
        {
            "audio": sound(1),
            "transcription": "好那我們就開始上課吧",
            "translation": "",
            "file": "a",
        },
        {"audio": sound(2), "transcription": "這是 neural network", "translation": "", "file": "b"},
    ]
    write_parquet(root / "data/train-00000-of-00002-1316.parquet", rows)
    write_parquet(root / "data/test-00000-of-00001-77b9.parquet", rows)


def asvspoof2019(root: Path) -> None:
    protocols = root / "LA/ASVspoof2019_LA_cm_protocols"
    write(
        protocols / "ASVspoof2019.LA.cm.train.trn.txt",
        "LA_0079 LA_T_1138215 - - bonafide\nLA_0079 LA_T_1271820 - A06 spoof\n",
    )
    write(protocols / "ASVspoof2019.LA.cm.dev.trl.txt", "LA_0069 LA_D_1047731 - - bonafide\n")
    record(root / "LA/ASVspoof2019_LA_train/flac/LA_T_1138215.flac", 1)
    record(root / "LA/ASVspoof2019_LA_train/flac/LA_T_1271820.flac", 2)


def asvspoof5(root: Path) -> None:
    write(
        root / "ASVspoof5.train.tsv",
        "T_4850 T_0000000000 F - - - AC3 A05 spoof -\n"
        "T_0001 T_0000000001 M - - - - bonafide bonafide -\n",
    )
    write(root / "ASVspoof5.dev.track_1.tsv", "D_0062 D_0000000001 F - - - AC1 A11 spoof -\n")
    record(root / "flac_T/T_0000000000.flac", 1)
    record(root / "flac_T/T_0000000001.flac", 2)


def codecfake(root: Path) -> None:
    row = {"audio": sound(1), "label": "spoofing", "speaker_id": "p282", "codec_name": "encodec"}
    real = {"audio": sound(2), "label": "bonafide", "speaker_id": "p282", "codec_name": None}
    write_parquet(root / "data/train-00000-of-00162.parquet", [row, real])


def librispeech_c(root: Path) -> None:
    for noise_type, number in (("AC", 2), ("GS", 2620)):
        part = root / f"LibriSpeech-c/{noise_type}/snr=5"
        write(part / "data_info.json", json.dumps([{}] * number))
        record(part / "wav/0000000.wav", number % 7)
        write(part / "text/0000000.txt", "MISTER QUILTER")


def vctk_musan(root: Path) -> None:
    for task, split, items in (
        ("NoiseDetectionmusic_VCTKMusan", "train", {"a.wav": {"label": "noisy"}}),
        ("NoiseDetection_VCTK_MUSAN-Noise", "train", {"b.wav": {"label": "clean"}}),
        ("NoiseSNRLevelPredictionspeech_VCTKMusan", "train", {"c.wav": {"label": "ten"}}),
        ("NoiseSNRLevelPredictionspeech_VCTKMusan", "test", {"d.wav": {"label": "zero"}}),
        ("NoiseDetectionnoise_LJSpeechMusan", "train", {"e.wav": {"label": "noisy"}}),
    ):
        write(root / task / split / "metadata.json", json.dumps(items))
        for name in items:
            record(root / task / split / name, 1 + ord(name[0]) % 5)


def noise_reverb(root: Path) -> None:
    said = {"speaker": "Alan_Alda", "gender": "male", "text": "I pull the covers up.", "label": "x"}
    turns = [
        {"start": 0, "end": 1.5, "speaker": "Ann", "text": "Hello?"},
        {"start": 1.5, "end": 3, "speaker": "Ben", "text": "Hi."},
    ]
    for task, items in (
        ("NoiseSNRLevelPredictionNoise_VoxcelebMusan", {"a.wav": {**said, "snr": 15, "c50": 60}}),
        (
            "ReverberationDetectionSmallRoom_VoxcelebRirsNoises",
            {"b.wav": {"label": "yes", "segments": turns}, "../../../c.wav": {"label": "no"}},
        ),
    ):
        write(root / task / "train" / "metadata.json", json.dumps(items))
    record(root / "NoiseSNRLevelPredictionNoise_VoxcelebMusan/train/a.wav", 4)
    record(root / "ReverberationDetectionSmallRoom_VoxcelebRirsNoises/train/b.wav", 3)


def tmhint_qi(root: Path) -> None:
    write(
        root / "raw_data.csv",
        "subject,file_name,quality_score,intelligibility_score\n"
        "1,FCN_snr0_street_TMHINT_b2_22_03,2,7\n"
        "2,FCN_snr0_street_TMHINT_b2_22_03,3,8\n"
        "1,Trans_snr2_pink_TMHINT_g4_24_09,,7\n",
    )
    record(root / "TMHINTQI/train/FCN_snr0_street_TMHINT_b2_22_03.wav", 2)
    record(root / "TMHINTQI/train/Trans_snr2_pink_TMHINT_g4_24_09.wav", 3)
    record(root / "TMHINTQI/test/DDAE_snr2_pink_TMHINT_b2_22_01.wav", 4)


FAMILIES: Mapping[str, tuple[Callable[[Path], None], ...]] = {
    "accent": (vctk, accentdb, fair_speech, speech_accent_archive, l2_arctic),
    "read": (kespeech, libritts_r),
    "meeting": (alimeeting, libricount),
    "spoken_commands": (speech_commands,),
    "languages_spoken": (voxlingua107, cszs, ntuml2021),
    "spoof": (asvspoof2019, asvspoof5, codecfake),
    "degraded": (librispeech_c, vctk_musan, noise_reverb, tmhint_qi),
}
DEV, TEST = "of the official dev split", "of the official test split"
TOO_LONG = "talk without a common pause for longer than a clip"
LEFT_OUT = {
    "vctk": ("no text for it", "the same words at the other microphone"),
    "speech-accent-archive": ("a synthesised voice", "the archive says that it has no recording"),
    "l2-arctic": ("no text for it, or no speaker",),
    "kespeech": (DEV, TEST, "the recording lies outside the root"),
    "libritts-r": ("no text for it", DEV),
    "alimeeting": ("its recording is missing", TEST, TOO_LONG),
    "libricount": ("its JSON file is missing",),
    "speech-commands": ("a minute of noise, not a word", TEST, "of the official validation split"),
    "voxlingua107": (DEV,),
    "cszs": ("its row holds no sound", DEV),
    "ntuml2021": (TEST,),
    "asvspoof2019": (DEV,),
    "asvspoof5": (DEV,),
    "librispeech-c": ("made from LibriSpeech's test-clean",),
    "vctk-musan": (TEST,),
    "noise-reverb": ("the recording lies outside the root",),
    "tmhint-qi": ("no score for it", TEST),
}
"""Source -> why recordings of its fixture are left out."""
MISSING = {
    "vctk": "VCTK-Corpus-0.92/speaker-info.txt",
    "fair-speech": "asr_fairness_audio",
    "speech-accent-archive": "reading-passage.txt",
    "kespeech": "Tasks/ASR/train_phase2/utt2subdialect",
    "libritts-r": "LibriTTS_R/speakers.tsv",
    "alimeeting": "Train_Ali_far/textgrid_dir",
    "libricount": "test",
    "speech-commands": "testing_list.txt",
    "ntuml2021": "data/train-00000-of-00002-1316.parquet",
    "asvspoof2019": "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt",
    "asvspoof5": "ASVspoof5.train.tsv",
    "tmhint-qi": "raw_data.csv",
}
"""Source -> a file or folder of its fixture without which it cannot be read."""

BUILDERS = {
    build.__name__.replace("_", "-"): build for family in FAMILIES.values() for build in family
}


def read(build: Callable[[Path], None], root: Path) -> Description:
    build(root)
    source = find_source(build.__name__.replace("_", "-"))
    return describe(source, root, max_broken_share=1.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_seed_descriptions_of_every_corpus_are_as_stored(tmp_path: Path, family: str) -> None:
    found = {}
    for build in FAMILIES[family]:
        description = read(build, tmp_path / build.__name__)
        found[description.source.name] = [describe_clip(clip) for clip in description.clips]

    golden = GOLDEN / f"{family}_descriptions.json"
    if not golden.exists():
        golden.write_text(f"{json.dumps(found, ensure_ascii=False, indent=2)}\n", encoding="utf-8")
        pytest.fail(f"{golden.name} was missing and is written: look at it, then run this again")
    assert found == json.loads(golden.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", BUILDERS)
def test_only_training_recordings_are_read_and_the_rest_is_counted(
    tmp_path: Path, name: str
) -> None:
    description = read(BUILDERS[name], tmp_path)

    assert tuple(sorted(left.reason for left in description.skipped)) == LEFT_OUT.get(name, ())


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    BUILDERS[name](tmp_path)
    (tmp_path / MISSING[name]).rename(tmp_path / "elsewhere")

    with pytest.raises(DataError) as caught:
        describe(find_source(name), tmp_path)

    wanted = "train-*.parquet" if name == "ntuml2021" else MISSING[name]
    assert wanted in caught.value.message
    assert "unpack" in caught.value.fix or "hf download" in caught.value.fix
