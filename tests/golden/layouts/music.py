"""Corpora of music."""

import json
from pathlib import Path

from corpora import NOT_WHOLE, TEST, VALIDATION, Corpus, record, write, write_csv


def make_nsynth(root: Path) -> None:
    note = {
        "note_str": "bass_electronic_018-022-100",
        "instrument_family_str": "bass",
        "instrument_source_str": "electronic",
        "pitch": 22,
        "velocity": 100,
        "qualities_str": ["dark", "long_release"],
    }
    other = note | {"instrument_family_str": "synth_lead", "pitch": 60, "qualities_str": []}
    training = {"bass_electronic_018-022-100": note, "synth_lead_synthetic_000-060-100": other}
    for folder, notes in {"nsynth-train": training, "nsynth-test": {"a-060-025": note}}.items():
        write(root, f"{folder}/examples.json", json.dumps(notes))
        record(root, *(f"{folder}/audio/{name}.wav" for name in notes), seconds=4)


def make_mridangam(root: Path) -> None:
    record(
        root / "mridangam_stroke_1.5",
        "B/224030__akshaylaya__bheem-b-001.wav",
        "C#/229000__akshaylaya__thi-csh-012.wav",
        "C/notes.wav",
    )


def make_fma(root: Path) -> None:
    rows = (
        ("", "album", "set", "set", "track", "track"),
        ("", "title", "split", "subset", "genre_top", "genres"),
        ("track_id", "", "", "", "", ""),
        (2, "AWOL", "training", "small", "Hip-Hop", "[21]"),
        (3, "AWOL", "training", "large", "", "[21, 17]"),
        (5, "AWOL", "training", "medium", "", "[]"),
        (10, "AWOL", "validation", "small", "Rock", "[12]"),
        (20, "AWOL", "test", "small", "Rock", "[12]"),
        (30, "AWOL"),
    )
    write_csv(root, "fma_metadata/tracks.csv", rows)
    genres = "genre_id,#tracks,parent,title,top_level\n17,1,0,Folk,17\n21,1,0,Hip-Hop,21\n"
    write(root, "fma_metadata/genres.csv", genres)
    record(root, *(f"fma_medium/000/{id:06}.mp3" for id in (2, 5, 10, 20)), seconds=2)


def make_gtzan(root: Path) -> None:
    record(root, "genres/hiphop/hiphop.00000.wav", "genres/reggae/reggae.00001.au", seconds=30)


def make_opensinger(root: Path) -> None:
    write(root, "ManRaw/0_一如年少模样/0_一如年少模样_3.txt", "多少凉薄世态可动荡\n")
    write(root, "ManRaw/0_一如年少模样/0_一如年少模样_3.lab", "duo shao liang bo\n")
    record(root, "ManRaw/0_一如年少模样/0_一如年少模样_3.wav", seconds=6)
    record(root, "WomanRaw/47_左边/47_左边_50.wav", seconds=4)


CORPORA = {
    "nsynth": Corpus(build=make_nsynth, needed=("nsynth-train/examples.json",), left={TEST: 1}),
    "mridangam": Corpus(
        build=make_mridangam,
        needed=("mridangam_stroke_1.5",),
        left={"the file name does not tell what is heard": 1},
    ),
    "fma": Corpus(
        build=make_fma,
        needed=(
            "fma_metadata/tracks.csv",
            "fma_metadata/genres.csv",
            "fma_*m",
        ),
        left={
            NOT_WHOLE: 1,
            "not in the subset fma_medium": 1,
            "no genre is stated": 1,
            VALIDATION: 1,
            TEST: 1,
        },
    ),
    "gtzan": Corpus(build=make_gtzan, needed=("genres",), left={}),
    "opensinger": Corpus(build=make_opensinger, needed=("*Raw",), left={}),
}
