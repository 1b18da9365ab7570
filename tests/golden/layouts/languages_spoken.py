"""Corpora of many languages."""

from pathlib import Path

from corpora import DEV, TEST, Corpus, hub_sound, record, shard


def make_voxlingua107(root: Path) -> None:
    record(root, "iw/2Ux___0000.wav", seconds=1)
    record(root, "haw/abc__U__S3---0123.450-0126.450.wav", seconds=3)
    record(root, "xx/abc__U__S4---0123.450-0126.450.wav", seconds=2)
    record(root, "dev/en/abc__U__S3---0123.450-0126.450.wav", seconds=2)


def make_cszs(root: Path) -> None:
    for split, seconds in (("train", 1), ("dev", 2)):
        row = {
            "correct_audio": hub_sound(seconds),
            "correct_transcription": "En el presente, los interactive kiosks.",
            "wrong_audio": hub_sound(seconds),
            "wrong_transcription": "En el presente, los interactive pantallas.",
        }
        empty = {**row, "correct_audio": {"bytes": None, "path": None}}
        shard(root, f"cszs_es_en/data/{split}-00000-of-00001.parquet", [row, empty])
        shard(root, f"elsewhere/{split}-00000-of-00001.parquet", [row])


def make_ntuml2021(root: Path) -> None:
    rows = [
        {
            "audio": hub_sound(1),
            "transcription": "好那我們就開始上課吧",
            "translation": "",
            "file": "a",
        },
        {
            "audio": hub_sound(2),
            "transcription": "這是 neural network",
            "translation": "",
            "file": "b",
        },
    ]
    shard(root, "data/train-00000-of-00002-1316.parquet", rows)
    shard(root, "data/test-00000-of-00001-77b9.parquet", rows)


CORPORA = {
    "voxlingua107": Corpus(
        build=make_voxlingua107,
        needed=("[hi]*",),
        left={DEV: 1, "its folder is not called by a language's code": 1},
    ),
    "cszs": Corpus(
        build=make_cszs,
        needed=("**/train-*.parquet",),
        left={
            "its row holds no sound": 1,
            DEV: 3,
            "it does not lie in cszs_es_en, cszs_fr_en or cszs_zh_en": 1,
        },
    ),
    "ntuml2021": Corpus(build=make_ntuml2021, needed=("data/train-*.parquet",), left={TEST: 2}),
}
