"""Corpora of speech with noise, echo or losses."""

import json
from pathlib import Path

from corpora import NOT_WHOLE, TEST, Corpus, record, write


def make_librispeech_c(root: Path) -> None:
    for name, number in (("train-clean-100/AC/snr=5", 2), ("GS/snr=5", 2), ("BA/snr=15", 28_539)):
        part = root / "LibriSpeech-c" / name
        write(part, "data_info.json", json.dumps([{}] * number))
        record(part, "wav/0000000.wav", seconds=1 + number % 7)
        write(part, "text/0000000.txt", "MISTER QUILTER")


def make_vctk_musan(root: Path) -> None:
    for task, split, items in (
        ("NoiseDetectionmusic_VCTKMusan", "train", {"a.wav": {"label": "noisy"}}),
        ("NoiseDetection_VCTK_MUSAN-Noise", "train", {"b.wav": {"label": "clean"}}),
        ("NoiseSNRLevelPredictionspeech_VCTKMusan", "train", {"c.wav": {"label": "ten"}}),
        ("NoiseSNRLevelPredictionspeech_VCTKMusan", "test", {"d.wav": {"label": "zero"}}),
        ("NoiseDetectionnoise_LJSpeechMusan", "train", {"e.wav": {"label": "noisy"}}),
    ):
        write(root / task / split, "metadata.json", json.dumps(items))
        for name in items:
            record(root / task / split, name, seconds=1 + ord(name[0]) % 5)


def make_noise_reverb(root: Path) -> None:
    said = {"speaker": "Alan_Alda", "gender": "male", "text": "I pull the covers up.", "label": "x"}
    turns = [
        {"start": 0, "end": 1.5, "speaker": "Ann", "text": "Hello?"},
        {"start": 1.5, "end": 3, "speaker": "Ben", "text": "Hi."},
    ]
    for task, items in (
        ("NoiseSNRLevelPredictionNoise_VoxcelebMusan", {"a.wav": {**said, "snr": 15, "c50": 60}}),
        (
            "ReverberationDetectionSmallRoom_VoxcelebRirsNoises",
            {
                "b.wav": {"label": "yes", "segments": turns},
                "d.wav": {"gender": "M"},
                "e.wav": {"segments": [{"start": 0}]},
                "../../../c.wav": {"label": "no"},
            },
        ),
    ):
        write(root / task / "train", "metadata.json", json.dumps(items))
    record(root, "NoiseSNRLevelPredictionNoise_VoxcelebMusan/train/a.wav", seconds=4)
    record(root, "ReverberationDetectionSmallRoom_VoxcelebRirsNoises/train/b.wav", seconds=3)
    record(root, "ReverberationDetectionSmallRoom_VoxcelebRirsNoises/train/d.wav", seconds=2)


def make_tmhint_qi(root: Path) -> None:
    write(
        root,
        "raw_data.csv",
        "subject,file_name,quality_score,intelligibility_score\n"
        "1,FCN_snr0_street_TMHINT_b2_22_03,2,7\n"
        "2,FCN_snr0_street_TMHINT_b2_22_03,3,8\n"
        "3,FCN_snr0_street_TMHINT_b2_22_03,NA,8\n"
        "1,Trans_snr2_pink_TMHINT_g4_24_09,,7\n",
    )
    record(root, "TMHINTQI/train/FCN_snr0_street_TMHINT_b2_22_03.wav", seconds=2)
    record(root, "TMHINTQI/train/Trans_snr2_pink_TMHINT_g4_24_09.wav", seconds=3)
    record(root, "TMHINTQI/test/DDAE_snr2_pink_TMHINT_b2_22_01.wav", seconds=4)


CORPORA = {
    "librispeech-c": Corpus(
        build=make_librispeech_c,
        needed=("**/snr=*/data_info.json",),
        left={"not known to be made of a training part of LibriSpeech": 1},
    ),
    "vctk-musan": Corpus(build=make_vctk_musan, needed=("*/train/metadata.json",), left={TEST: 1}),
    "noise-reverb": Corpus(
        build=make_noise_reverb,
        needed=("*/train/metadata.json",),
        left={"the recording lies outside its folder": 1, NOT_WHOLE: 1},
    ),
    "tmhint-qi": Corpus(
        build=make_tmhint_qi,
        needed=(
            "raw_data.csv",
            "TMHINTQI/train",
        ),
        left={TEST: 1, "no score for it": 1},
    ),
}
