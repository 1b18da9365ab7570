"""Corpora of several people at once."""

import json
from pathlib import Path

from corpora import TEST, Corpus, record, write


def make_alimeeting(root: Path) -> None:
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
        root,
        "Train_Ali_far/textgrid_dir/R0003_M0046.TextGrid",
        head
        + tier(
            "N_R0003S0046_F_SPK0093", (0.5, 3.2, "我们开始吧<sil>"), (3.2, 20, ""), (20, 29, "好")
        )
        + tier(
            "N_R0003S0046_M_SPK0094", (2.8, 5, "可以"), (35, 38, '他说""再见""'), (40, 75, "嗯")
        ),
    )
    record(root, "Train_Ali_far/audio_dir/R0003_M0046_MS002.wav", seconds=76, channels=2)
    write(root, "Train_Ali_far/textgrid_dir/R0009_M0001.TextGrid", head)
    write(root, "Test_Ali/Test_Ali_far/textgrid_dir/R8001_M8004.TextGrid", head)


def make_libricount(root: Path) -> None:
    speakers = [{"sex": "F", "activity": [[0, 70000]], "speaker_id": 61}] * 2
    for name, listed in (("0_a", []), ("2_b", speakers)):
        record(root, f"test/{name}.wav", seconds=5 + len(listed))
        write(root, f"test/{name}.json", json.dumps(listed))
    record(root, "test/3_c.wav", seconds=4)


CORPORA = {
    "alimeeting": Corpus(
        build=make_alimeeting,
        needed=(
            "Train_Ali_far/textgrid_dir",
            "Train_Ali_far/audio_dir",
        ),
        left={
            "its recording is missing": 1,
            TEST: 1,
            "talk without a common pause for longer than a clip": 1,
        },
    ),
    "libricount": Corpus(
        build=make_libricount, needed=("test",), left={"its JSON file is missing": 1}
    ),
}
