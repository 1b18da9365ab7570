"""Corpora of sounds and music in their own layouts, made on the fly, down to seed descriptions.

Delete `sound_descriptions.json` or `music_descriptions.json` and run this to write it anew.
"""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from desta.construction.description import describe as write_description
from desta.errors import DataError
from desta.sources import find_source
from desta.sources.base import Metadata, Skipped
from desta.sources.describe import Description, describe

GOLDEN = Path(__file__).parent


def record(root: Path, *names: str, seconds: float = 1.0) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ramp = np.linspace(-0.5, 0.5, round(seconds * 16_000), dtype=np.float32)
        soundfile.write(path, ramp, 16_000)


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_csv(root: Path, name: str, rows: Iterable[Iterable[Any]]) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def make_audioset(root: Path) -> None:
    classes = "index,mid,display_name\n0,/m/09x0r,Speech\n451,/t/dd00088,Gush\n"
    write(root, "class_labels_indices.csv", f'{classes}1,/m/x,"Accelerating, revving, vroom"\n')
    head = "# Segments csv created\n# num_ytids=2\n# YTID, start_seconds, end_seconds, labels\n"
    lines = (
        '--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"\n'
        '-0SdAVK79lg, 0.000, 10.000, "/m/x"\n'
        'gone, 0.000, 10.000, "/m/09x0r"\n'
    )
    write(root, "balanced_train_segments.csv", head + lines)
    write(root, "eval_segments.csv", f'{head}-0eval, 0.000, 10.000, "/m/09x0r"\n')
    record(root, "audio/bal_train/--PJHxphWEs.flac", "audio/bal_train/-0SdAVK79lg.wav", seconds=2)
    record(root, "audio/eval/-0eval.flac")


def make_esc50(root: Path) -> None:
    rows = (
        ("filename", "fold", "target", "category", "esc10", "src_file", "take"),
        ("1-100032-A-0.wav", 1, 0, "dog", True, 100032, "A"),
        ("5-103418-A-30.wav", 5, 30, "door_wood_knock", False, 103418, "A"),
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
        ("AudioSet_SL", "as_final", {"Yb0RFKhbpFJA.wav": "Wind blows.", "Ytested.wav": "Rain."}),
        ("SoundBible", "sb_final", {"2219": "There is the sound of a truck."}),
    ):
        data = [{"id": id, "caption": text, "duration": 10.0} for id, text in entries.items()]
        write(root, f"json_files/{part}/{file}.json", json.dumps({"num": 1, "data": data}))
        record(root, *(f"Audio/{part}/{id.removesuffix('.wav')}.flac" for id in entries))
    listed = {"AudioSet": ["Ytested.wav"], "FreeSound": ["156"]}
    write(root, "json_files/blacklist/blacklist_exclude_test_ac.json", json.dumps(listed))


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


SOUND: Mapping[str, Callable[[Path], None]] = {
    "audioset": make_audioset,
    "esc50": make_esc50,
    "fsd50k": make_fsd50k,
    "vocalsound": make_vocalsound,
    "audiocaps": make_audiocaps,
    "clotho": make_clotho,
    "wavcaps": make_wavcaps,
}
MUSIC: Mapping[str, Callable[[Path], None]] = {
    "nsynth": make_nsynth,
    "mridangam": make_mridangam,
    "fma": make_fma,
    "gtzan": make_gtzan,
    "opensinger": make_opensinger,
}
CORPORA = {**SOUND, **MUSIC}


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Description]:
    """Every corpus, described from its fixture."""
    found = {}
    for name, make in CORPORA.items():
        root = tmp_path_factory.mktemp(name)
        make(root)
        found[name] = describe(find_source(name), root)
    return found


@pytest.mark.parametrize(("family", "makers"), [("sound", SOUND), ("music", MUSIC)])
def test_seed_descriptions_are_the_golden_ones(
    described: Mapping[str, Description], family: str, makers: Mapping[str, object]
) -> None:
    texts = {name: [write_description(clip) for clip in described[name].clips] for name in makers}
    golden = GOLDEN / f"{family}_descriptions.json"

    if not golden.exists():
        text = json.dumps(texts, ensure_ascii=False, indent=2)
        golden.write_text(f"{text}\n", encoding="utf-8")
        pytest.fail(f"{golden.name} was missing and is written: look at it, then run this again")

    assert texts == json.loads(golden.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CORPORA)
def test_the_domain_of_every_clip_is_one_that_the_row_states(
    described: Mapping[str, Description], name: str
) -> None:
    assert {clip.domain for clip in described[name].clips} <= set(find_source(name).domains)


REASONS = {
    "audioset": {
        "the video is gone or was not fetched": 1,
        "of the official evaluation split": 1,
    },
    "esc50": {},
    "fsd50k": {"of the official validation split": 1, "of the official evaluation split": 1},
    "vocalsound": {
        "of the official test split": 2,
        "of the official validation split": 1,
        "the file name does not tell what is heard": 1,
    },
    "audiocaps": {"the video is gone or was not fetched": 1, "of the official test split": 1},
    "clotho": {"of the official evaluation split": 1},
    "wavcaps": {"in the test split of AudioCaps or Clotho": 1},
    "nsynth": {"of the official test split": 1},
    "mridangam": {"the file name does not tell what is heard": 1},
    "fma": {
        "not in the subset fma_medium": 1,
        "no genre is stated": 1,
        "of the official validation split": 1,
        "of the official test split": 1,
    },
    "gtzan": {},
    "opensinger": {},
}


@pytest.mark.parametrize("name", CORPORA)
def test_only_the_official_training_split_is_read_and_the_rest_is_counted(
    described: Mapping[str, Description], name: str
) -> None:
    description = described[name]

    assert {left.reason: left.count for left in description.skipped} == REASONS[name]
    if any("official" in reason for reason in REASONS[name]):
        assert {clip.split for clip in description.clips} == {"train"}


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("audioset", "class_labels_indices.csv"),
        ("audioset", "balanced_train_segments.csv"),
        ("esc50", "meta/esc50.csv"),
        ("fsd50k", "FSD50K.ground_truth/dev.csv"),
        ("vocalsound", "datafiles/tr.json"),
        ("audiocaps", "train.csv"),
        ("clotho", "clotho_captions_development.csv"),
        ("wavcaps", "json_files/blacklist/blacklist_exclude_test_ac.json"),
        ("wavcaps", "json_files/SoundBible/sb_final.json"),
        ("nsynth", "nsynth-train/examples.json"),
        ("fma", "fma_metadata/tracks.csv"),
        ("fma", "fma_metadata/genres.csv"),
    ],
)
def test_a_missing_file_is_named_with_what_brings_it(
    tmp_path: Path, name: str, missing: str
) -> None:
    CORPORA[name](tmp_path)
    (tmp_path / missing).unlink()

    with pytest.raises(DataError, match=f"{name}: .*{missing} is not a file") as caught:
        list(find_source(name).read(tmp_path))
    assert missing in caught.value.fix
    assert "desta describe custom" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("esc50", "meta/esc50.csv", "filename,fold\na.wav,1\n", 'no column "target"'),
        ("clotho", "clotho_captions_development.csv", "file_name\na.wav\n", "caption_1"),
        ("vocalsound", "datafiles/tr.json", "[]", "does not list recordings"),
        ("vocalsound", "datafiles/tr.json", "{", "is not JSON"),
        ("wavcaps", "json_files/SoundBible/sb_final.json", "{}", "does not hold captions"),
        ("nsynth", "nsynth-train/examples.json", "[]", "does not list notes"),
        ("fma", "fma_metadata/tracks.csv", "a,b\n", "is not its table of tracks"),
    ],
)
def test_a_file_of_another_kind_is_named(
    tmp_path: Path, name: str, file: str, content: str, message: str
) -> None:
    CORPORA[name](tmp_path)
    write(tmp_path, file, content)

    with pytest.raises(DataError, match=message):
        list(find_source(name).read(tmp_path))


def test_a_name_that_leads_out_of_the_corpus_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    make_clotho(root)
    record(tmp_path, "secret.wav")
    table = root / "clotho_captions_development.csv"
    text = table.read_text(encoding="utf-8")
    table.write_text(f"{text}../../secret.wav,a,b,c,d,e\n", encoding="utf-8")

    description = describe(find_source("clotho"), root, max_broken_share=0.5)

    assert [left.reason for left in description.skipped if left.broken] == [
        "the recording lies outside the root"
    ]
    assert len(description.clips) == 5


def test_a_broken_entry_of_nsynth_is_damage_and_no_crash(tmp_path: Path) -> None:
    make_nsynth(tmp_path)
    write(tmp_path, "nsynth-train/examples.json", json.dumps({"a": {"pitch": None}}))

    (item, *_) = find_source("nsynth").read(tmp_path)

    assert isinstance(item, Skipped)
    assert item.broken


def test_the_captions_of_one_recording_are_clips_of_their_own(tmp_path: Path) -> None:
    make_clotho(tmp_path)

    items = [i for i in find_source("clotho").read(tmp_path) if isinstance(i, Metadata)]

    assert len({item.id for item in items}) == 5
    assert len({item.attributes["Heard"] for item in items}) == 5
    assert {item.audio for item in items} == {"development/Old door.wav"}
