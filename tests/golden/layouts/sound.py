"""Corpora of sounds."""

import json
from pathlib import Path

from corpora import (
    EVALUATION,
    NOT_WHOLE,
    OTHER_TEST,
    TEST,
    VALIDATION,
    Corpus,
    record,
    write,
    write_csv,
)


def make_audioset(root: Path) -> None:
    classes = "index,mid,display_name\n0,/m/09x0r,Speech\n451,/t/dd00088,Gush\n"
    write(root, "class_labels_indices.csv", f'{classes}1,/m/x,"Accelerating, revving, vroom"\n')
    head = "# Segments csv created\n# num_ytids=2\n# YTID, start_seconds, end_seconds, labels\n"
    lines = (
        '--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"\n'
        '-0SdAVK79lg, 0.000, 10.000, "/m/x"\n'
        'gone, 0.000, 10.000, "/m/09x0r"\n'
        'tested, 0.000, 10.000, "/m/09x0r"\n'
        "short\n"
    )
    write(root, "balanced_train_segments.csv", head + lines)
    write(root, "eval_segments.csv", f'{head}-0eval, 0.000, 10.000, "/m/09x0r"\n')
    record(root, "audio/bal_train/--PJHxphWEs.flac", "audio/bal_train/-0SdAVK79lg.wav", seconds=2)
    record(root, "audio/eval/-0eval.flac", "audio/bal_train/tested.flac")
    write(
        root, "audiocaps/test.csv", "audiocap_id,youtube_id,start_time,caption", "1,tested,0,Rain"
    )


def make_esc50(root: Path) -> None:
    rows = (
        ("filename", "fold", "target", "category", "esc10", "src_file", "take"),
        ("1-100032-A-0.wav", 1, 0, "dog", True, 100032, "A"),
        ("5-103418-A-30.wav", 5, 30, "door_wood_knock", False, 103418, "A"),
        ("1-1-A-50.wav", 1, 50, "dog", True, 1, "A"),
    )
    write_csv(root, "meta/esc50.csv", rows)
    record(root, "audio/1-100032-A-0.wav", "audio/5-103418-A-30.wav", seconds=5)


def make_fsd50k(root: Path) -> None:
    rows = (
        ("fname", "labels", "mids", "split"),
        (64760, "Electric_guitar,Guitar,Music", "/m/02sgy,/m/0342h,/m/04rlf", "train"),
        (16399, "Gurgling,Liquid", "/m/a,/m/b", "val"),
    )
    write_csv(root, "FSD50K.ground_truth/dev.csv", rows)
    write_csv(
        root, "FSD50K.ground_truth/eval.csv", (("fname", "labels", "mids"), (37199, "Bell", "/m/c"))
    )
    record(root, "FSD50K.dev_audio/64760.wav", "FSD50K.dev_audio/16399.wav", seconds=3)


def make_vocalsound(root: Path) -> None:
    for file, names in {
        "tr.json": ("f0003_0_sneeze", "m0012_0_throatclearing", "odd"),
        "val.json": ("m0042_0_sigh",),
        "te.json": ("f0009_0_cough", "f0009_0_sniff"),
    }.items():
        data = [{"wav": f"/data/theirs/audio_16k/{n}.wav", "labels": "/m/01hsr_"} for n in names]
        write(root, f"datafiles/{file}", json.dumps({"data": data}))
        record(root, *(f"audio_16k/{name}.wav" for name in names), seconds=4)


def make_audiocaps(root: Path) -> None:
    head = ("audiocap_id", "youtube_id", "start_time", "caption")
    rows = (
        head,
        (91139, "r1nicOVtvkQ", 130, "A woman talks nearby as water pours"),
        (58146, "gone", 30, "Multiple clanging sounds"),
    )
    write_csv(root, "train.csv", rows)
    write_csv(root, "test.csv", (head, (103549, "7fmOlUlwoNg", 170, "Constant rattling noise")))
    record(root, "audio_32000Hz/train/r1nicOVtvkQ_130.flac", seconds=10)


def make_clotho(root: Path) -> None:
    head = ("file_name", *(f"caption_{number}" for number in range(1, 6)))
    captions = ("A door opens and closes.", "A door, again.", "Someone leaves.", "Wood.", "A bang.")
    write_csv(root, "clotho_captions_development.csv", (head, ("Old door.wav", *captions)))
    write_csv(root, "clotho_captions_evaluation.csv", (head, ("Rain.wav", *captions)))
    record(root, "development/Old door.wav", "evaluation/Rain.wav", seconds=15)


def make_wavcaps(root: Path) -> None:
    for part, file, entries in (
        (
            "FreeSound",
            "fsd_final",
            {"156": "A bell.", "157": "A dog.", "37199": "A saw.", "2": "A cat."},
        ),
        ("AudioSet_SL", "as_final", {"Yb0RFKhbpFJA.wav": "Wind blows.", "Ytested.wav": "Rain."}),
        ("SoundBible", "sb_final", {"2219": "There is the sound of a truck."}),
    ):
        data = [{"id": id, "caption": text, "duration": 10.0} for id, text in entries.items()]
        write(root, f"json_files/{part}/{file}.json", json.dumps({"num": 1, "data": data}))
        record(root, *(f"Audio/{part}/{id.removesuffix('.wav')}.flac" for id in entries))
    for name, listed in {
        "test_ac": {"AudioSet": ["Ytested.wav"], "FreeSound": ["156"]},
        "ub8k_esc50_vggsound": {"AudioSet": [], "FreeSound": ["157"]},
    }.items():
        write(root, f"json_files/blacklist/blacklist_exclude_{name}.json", json.dumps(listed))
    write_csv(root, "FSD50K.ground_truth/eval.csv", (("fname", "labels"), (37199, "Saw")))


CORPORA = {
    "audioset": Corpus(
        build=make_audioset,
        needed=(
            "class_labels_indices.csv",
            "balanced_train_segments.csv",
            "audiocaps/test.csv",
            "audio/bal_train",
        ),
        left={
            "the video is gone or was not fetched": 1,
            EVALUATION: 1,
            OTHER_TEST: 1,
            NOT_WHOLE: 1,
        },
    ),
    "esc50": Corpus(build=make_esc50, needed=("meta/esc50.csv",), left={NOT_WHOLE: 1}),
    "fsd50k": Corpus(
        build=make_fsd50k,
        needed=(
            "FSD50K.ground_truth/dev.csv",
            "FSD50K.dev_audio",
        ),
        left={VALIDATION: 1, EVALUATION: 1},
    ),
    "vocalsound": Corpus(
        build=make_vocalsound,
        needed=(
            "datafiles/tr.json",
            "audio_16k",
        ),
        left={TEST: 2, VALIDATION: 1, "the file name does not tell what is heard": 1},
    ),
    "audiocaps": Corpus(
        build=make_audiocaps,
        needed=(
            "train.csv",
            "audio_32000Hz/train",
        ),
        left={"the video is gone or was not fetched": 1, TEST: 1},
    ),
    "clotho": Corpus(
        build=make_clotho,
        needed=(
            "clotho_captions_development.csv",
            "development",
        ),
        left={EVALUATION: 1},
    ),
    "wavcaps": Corpus(
        build=make_wavcaps,
        needed=(
            "json_files/blacklist/blacklist_exclude_test_ac.json",
            "json_files/blacklist/blacklist_exclude_ub8k_esc50_vggsound.json",
            "json_files/SoundBible/sb_final.json",
            "FSD50K.ground_truth/eval.csv",
            "Audio",
        ),
        left={OTHER_TEST: 4},
    ),
}
