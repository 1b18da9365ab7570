import csv
import gzip
import json
import math
import shutil
import stat
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from desta.config import build, load_recipe
from desta.errors import ConfigError, DataError, DestaError
from desta.records import Clip, read_clips
from desta.sources import SOURCES, find_source
from desta.sources.base import Metadata, Skipped, Source
from desta.sources.custom import Columns, CustomRecipe, custom_source
from desta.sources.describe import Description, describe, write_description
from desta.sources.packages import fetch_packages
from desta.sources.splits import assign_splits, normalise
from desta.sources.tables import read_table

STAMPS = "usr/share/tuxpaint/stamps"


def record(path: Path, *, seconds: float = 0.5, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, round(seconds * 8_000))
    soundfile.write(path, noise, 8_000)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def reasons(description: Description) -> dict[str, int]:
    return {left.reason: left.count for left in description.skipped}


def by_id(description: Description) -> dict[str, Clip]:
    return {clip.id: clip for clip in description.clips}


def test_every_source_states_what_a_user_must_know() -> None:
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.title
        assert source.licence
        assert source.domains
        assert source.obtain
        assert source.cited


def test_an_unknown_source_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(DataError) as caught:
        find_source("tuxpant")
    assert 'did you mean "tuxpaint"?' in caught.value.fix


@pytest.mark.parametrize("name", SOURCES)
def test_a_root_without_the_corpus_is_an_error_with_a_fix(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        describe(find_source(name), tmp_path)
    assert "desta describe custom" in caught.value.fix
    with pytest.raises(DataError, match="is not a folder"):
        describe(find_source(name), tmp_path / "missing")


def test_asterisk_gives_language_sex_and_words(tmp_path: Path) -> None:
    voice = tmp_path / "usr/share/asterisk/sounds/it_IT_m_Carlo"
    texts = {
        "hello": "Buongiorno: a tutti.",
        "beep": "[tono semplice]",
        "letters/at": "a [@]",
        "pause": "Il [suo] messaggio",
        "silence/1": "(1 secondo di silenzio)",
        "unwritten": "",
    }
    for seed, prompt in enumerate((*texts, "unlisted")):
        record(voice / f"{prompt}.wav", seed=seed)
    document = tmp_path / "usr/share/doc/asterisk-core-sounds-it/core-sounds-it.txt.gz"
    document.parent.mkdir(parents=True)
    lines = ["; a remark: not a text", "", *(f"{name}: {text}" for name, text in texts.items())]
    document.write_bytes(gzip.compress("\n".join(lines).encode("utf-8-sig")))

    description = describe(find_source("asterisk"), tmp_path)

    clips = by_id(description)
    assert {id: clip.transcription for id, clip in clips.items()} == {
        "asterisk/it_IT_m_Carlo/hello": "Buongiorno: a tutti.",
        "asterisk/it_IT_m_Carlo/letters/at": "a",
    }
    hello = clips["asterisk/it_IT_m_Carlo/hello"]
    assert hello.attributes == {"Language": "Italian", "Gender": "Male"}
    assert (hello.duration, hello.segments[0].start, hello.segments[0].end) == (0.5, 0.0, 0.5)
    assert (tmp_path / hello.audio).is_file()
    assert reasons(description) == {
        "a sound, not words": 1,
        "a note within the text leaves the words uncertain": 1,
        "silence on purpose": 1,
        "no text for it": 2,
    }


def test_asterisk_without_its_texts_names_the_package(tmp_path: Path) -> None:
    record(tmp_path / "usr/share/asterisk/sounds/fr_CA_f_June/activated.wav")

    with pytest.raises(DataError) as caught:
        describe(find_source("asterisk"), tmp_path)
    assert "asterisk-core-sounds-fr" in caught.value.fix


def make_stamps(root: Path) -> None:
    stamps = root / STAMPS
    write(
        stamps / "animals/amphibians/frog.txt", "A frog.\nfr.utf8=Une grenouille.\nbe.utf8=Жаба.\n"
    )
    write(stamps / "symbols/math/1.txt", "One.\nfr.utf8=Un.\nzh_TW.utf8=一\n")
    write(stamps / "household/tools/saw.txt", "A saw.\n")
    write(stamps / "town/sign.txt", "A road sign.\n")
    frogs = [f"animals/amphibians/frog{end}" for end in ("", "_desc", "_desc_fr", "_desc_be")]
    names = (
        *frogs,
        "animals/amphibians/frog_desc_el",
        "symbols/math/1",
        "symbols/math/1_fr",
        "symbols/math/1_zh_tw",
        "symbols/letters/a_filled_en_GB",
        "household/tools/saw",
        "town/sign",
    )
    for seed, name in enumerate(names):
        record(stamps / f"{name}.ogg", seed=seed)


def test_tuxpaint_gives_every_narrator_the_text_of_its_language(tmp_path: Path) -> None:
    make_stamps(tmp_path)

    description = describe(find_source("tuxpaint"), tmp_path)

    assert {
        id.removeprefix("tuxpaint/"): (clip.attributes["Language"], clip.transcription)
        for id, clip in by_id(description).items()
    } == {
        "animals/amphibians/frog_desc": ("English", "A frog."),
        "animals/amphibians/frog_desc_be": ("Belarusian", "Жаба."),
        "animals/amphibians/frog_desc_fr": ("French", "Une grenouille."),
        "symbols/math/1": ("English", "One."),
        "symbols/math/1_fr": ("French", "Un."),
        "symbols/math/1_zh_tw": ("Chinese", "一"),
    }
    assert reasons(description) == {
        "no text in the language of its narrator": 1,
        "a letter or a face: its words are not stated": 1,
    }


def test_the_two_readers_of_tuxpaint_account_for_every_recording_once(tmp_path: Path) -> None:
    make_stamps(tmp_path)

    items = [
        item.id
        for name in ("tuxpaint", "tuxpaint-sounds")
        for item in find_source(name).read(tmp_path)
    ]

    files = (tmp_path / STAMPS).rglob("*.ogg")
    assert sorted(items) == sorted(
        path.relative_to(tmp_path / STAMPS).with_suffix("").as_posix() for path in files
    )


def test_tuxpaint_sounds_are_named_by_picture_and_folder(tmp_path: Path) -> None:
    make_stamps(tmp_path)

    description = describe(find_source("tuxpaint-sounds"), tmp_path)

    assert [clip.attributes for clip in description.clips] == [
        {"Sound": "Frog", "Sound class": "Amphibian"},
        {"Sound": "Saw", "Sound class": "Tool"},
    ]
    assert all(clip.segments == () for clip in description.clips)
    assert reasons(description) == {"the picture does not tell what is heard": 1}


def test_sonic_pi_names_instruments_by_the_file_name(tmp_path: Path) -> None:
    names = ("bd_808", "drum_snare_hard", "elec_blip2", "guit_em9", "loop_mika", "misc_burp")
    for seed, name in enumerate(names):
        record(tmp_path / f"usr/share/sonic-pi/samples/{name}.flac", seed=seed)

    description = describe(find_source("sonic-pi"), tmp_path)

    assert [clip.attributes for clip in description.clips] == [
        {"Instrument": "Bass drum", "Category": "Drum hit"},
        {"Instrument": "Snare drum", "Category": "Drum hit"},
        {"Instrument": "Synthesizer", "Category": "Electronic sound"},
        {"Instrument": "Guitar", "Category": "Guitar phrase"},
        {"Category": "Loop"},
    ]
    assert reasons(description) == {"the file name does not tell what is heard": 1}


ROWS: tuple[dict[str, Any], ...] = (
    {"path": "a.wav", "words": "Guten Tag", "lang": "de", "mood": "happy", "from": 0, "to": 0.2},
    {"path": "a.wav", "words": "Hello", "lang": "en", "mood": "happy", "from": 0.2, "to": 9},
    {"path": "b.wav", "words": "", "lang": "de", "mood": "", "from": 0, "to": 0.5},
)
MAPPING = {
    "columns": {
        "audio": "path",
        "text": "words",
        "language": "lang",
        "start": "from",
        "end": "to",
    },
    "attributes": {"Emotion": "mood"},
    "constants": {"Room": "Studio"},
}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    if path.suffix == ".jsonl":
        write(path, "".join(f"{json.dumps(row)}\n" for row in rows))
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def make_corpus(root: Path, table: str, rows: Iterable[Mapping[str, Any]] = ROWS) -> None:
    record(root / "a.wav", seed=1)
    record(root / "b.wav", seed=2)
    write_rows(root / table, rows)


def recipe(**values: Any) -> CustomRecipe:
    return build(CustomRecipe, {"name": "mine", **values}, where="recipe")


@pytest.mark.parametrize("table", ["rows.csv", "rows.tsv", "rows.jsonl"])
def test_a_table_of_any_kind_becomes_the_same_clips(tmp_path: Path, table: str) -> None:
    make_corpus(tmp_path, table)

    description = describe(custom_source(recipe(table=table, **MAPPING)), tmp_path)

    first, second = description.clips
    assert first.id == "mine/a.wav"
    assert [(s.start, s.end, s.text) for s in first.segments] == [
        (0.0, 0.2, "Guten Tag"),
        (0.2, 0.5, "Hello"),  # the row goes beyond the end of the recording
    ]
    assert list(first.attributes.items()) == [
        ("Language", "German / English"),
        ("Emotion", "happy"),
        ("Room", "Studio"),
    ]
    assert second.segments[0].text is None
    assert second.attributes == {"Language": "German", "Room": "Studio"}


def test_a_hugging_face_data_set_becomes_the_same_clips(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    make_corpus(tmp_path, "rows.jsonl")
    saved = tmp_path / "saved"
    rows = [{**row, "path": str(tmp_path / row["path"])} for row in ROWS]
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(saved)

    by_table = describe(custom_source(recipe(table="rows.jsonl", **MAPPING)), tmp_path)
    by_dataset = describe(custom_source(recipe(dataset=str(saved), **MAPPING)), tmp_path)

    assert by_dataset.clips == by_table.clips
    with pytest.raises(DataError) as caught:
        describe(custom_source(recipe(dataset=str(saved), dataset_split="tran")), tmp_path)
    assert "train" in caught.value.fix


def test_sounds_inside_a_data_set_are_unpacked_below_the_root(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    record(tmp_path / "elsewhere/a.wav")
    sounds = [{"bytes": (tmp_path / "elsewhere/a.wav").read_bytes(), "path": "a.wav"}]
    table = datasets.Dataset.from_dict({"audio": sounds})
    table.cast_column("audio", datasets.Audio()).save_to_disk(tmp_path / "saved")
    root = tmp_path / "root"
    root.mkdir()

    description = describe(custom_source(recipe(dataset=str(tmp_path / "saved"))), root)

    (clip,) = description.clips
    assert clip.duration == 0.5
    assert (root / clip.audio).read_bytes() == sounds[0]["bytes"]


def test_a_data_set_that_is_not_there_is_an_error_with_a_fix(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="cannot be loaded"):
        describe(custom_source(recipe(dataset=str(tmp_path / "nothing"))), tmp_path)


def test_a_missing_column_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    make_corpus(tmp_path, "rows.csv")

    with pytest.raises(DataError, match='rows.csv has no column "word"') as caught:
        describe(
            custom_source(recipe(table="rows.csv", columns={"audio": "path", "text": "word"})),
            tmp_path,
        )
    assert 'did you mean "words"?' in caught.value.fix


def test_semicolons_byte_order_marks_and_decimal_commas_are_read(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    rows = "audio;words;from;to\na.wav;Ja, gern;0,1;0,45\n"
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8-sig")

    (clip,) = describe(
        custom_source(
            recipe(table="rows.csv", columns={"text": "words", "start": "from", "end": "to"})
        ),
        tmp_path,
    ).clips

    (segment,) = clip.segments
    assert (segment.start, segment.end, segment.text) == (0.1, 0.45, "Ja, gern")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("audio,text,sex\na.wav,Hello, world,f\n", "row 1 has 4 cells, and the table 3 columns"),
        ("audio,text,text\na.wav,Hello,f\n", 'two columns "text"'),
    ],
)
def test_a_table_whose_cells_are_in_doubt_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_what_spreadsheets_leave_at_the_end_of_a_row_is_no_cell(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("audio,text,,\na.wav,Hello,,,,\n")
    [row] = read_table(path)
    assert (row["audio"], row["text"]) == ("a.wav", "Hello")


def test_not_a_number_is_no_value(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"file": f"{n}.wav", "words": math.nan, "sex": math.nan} for n in range(1, 3)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for number in range(1, 3):
        record(tmp_path / f"{number}.wav", seed=number)
    mapped = CustomRecipe(
        name="nan",
        table="t.jsonl",
        columns=Columns(audio="file", text="words"),
        attributes={"Gender": "sex"},
    )
    for clip in describe(custom_source(mapped), tmp_path).clips:
        assert clip.attributes == {}
        assert clip.transcription == " "


def test_values_are_translated_and_unknown_ones_counted(tmp_path: Path) -> None:
    for name in "abc":
        record(tmp_path / f"{name}.wav", seed=ord(name))
    write(tmp_path / "rows.csv", "audio,sex\na.wav,W\nb.wav,?\nc.wav,X\n")
    values = {"Gender": {"W": "Female", "?": ""}}

    description = describe(
        custom_source(recipe(table="rows.csv", attributes={"Gender": "sex"}, values=values)),
        tmp_path,
        max_broken_share=0.5,
    )

    assert [clip.attributes for clip in description.clips] == [{"Gender": "Female"}, {}]
    assert reasons(description) == {"a value has no entry in `values`": 1}
    assert description.skipped[0].example == "mine/c.wav"


def test_codes_and_names_of_one_language_are_one_value(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    write(tmp_path / "rows.csv", "audio,lang,from\na.wav,en,0\na.wav,English,0.2\n")
    columns = {"language": "lang", "start": "from"}

    (clip,) = describe(custom_source(recipe(table="rows.csv", columns=columns)), tmp_path).clips

    assert clip.attributes == {"Language": "English"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"table": "a.csv", "values": {"Mood": {"a": "b"}}}, "which is no attribute"),
        ({"table": "a.csv", "dataset": "b"}, "either a table or a dataset"),
        ({}, "either a table or a dataset"),
        ({"table": "a.xlsx"}, "not a table that can be read"),
        ({"table": "a.csv", "name": "two words"}, "not one word"),
        ({"table": "a.csv", "domain": "noise"}, "not one of speech, sound, music"),
        ({"table": "a.csv", "colums": {}}, "unknown key"),
        ({"table": "a.csv", "attributes": {"A": "a"}, "constants": {"A": "b"}}, "both"),
    ],
)
def test_a_wrong_recipe_is_a_config_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(**values)


def test_a_recipe_is_read_from_yaml(tmp_path: Path) -> None:
    write(tmp_path / "mine.yaml", "name: mine\ntable: rows.csv\ncolumns: {audio: path}\n")

    assert load_recipe(tmp_path / "mine.yaml", CustomRecipe).columns.audio == "path"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a file"),
        (b"audio\n", "no recordings are left"),
        (b"", "no recordings are left"),
        (b"audio\n\xff\xfe\n", "is not UTF-8"),
        (b'audio\n"open', "is not a table"),
    ],
)
def test_a_table_without_rows_is_an_error(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "rows.csv").write_bytes(content)

    with pytest.raises(DataError, match=message):
        describe(custom_source(recipe(table="rows.csv")), tmp_path)


def test_broken_rows_are_counted_with_reason_and_example(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"audio": "a.wav", "from": 0, "to": "", "set": "dev"},
        {"audio": "", "from": 0, "to": "", "set": "dev"},
        {"audio": "../outside.wav", "from": 0, "to": "", "set": "dev"},
        {"audio": "missing.wav", "from": 0, "to": "", "set": "dev"},
        {"audio": "missing too.wav", "from": 0, "to": "", "set": "dev"},
        {"audio": "text.wav", "from": 0, "to": "", "set": "dev"},
        {"audio": "b.wav", "from": "soon", "to": "", "set": "dev"},
        {"audio": "c.wav", "from": 3, "to": 2, "set": "dev"},
        {"audio": "d.wav", "from": 3, "to": 4, "set": "dev"},
        {"audio": "e.wav", "from": 0, "to": 1, "set": "practice"},
    ]
    make_corpus(tmp_path, "rows.csv", rows)
    for name in "cde":
        record(tmp_path / f"{name}.wav", seed=ord(name))
    write(tmp_path / "text.wav", "not a sound")
    source = custom_source(
        recipe(table="rows.csv", columns={"start": "from", "end": "to", "split": "set"})
    )

    description = describe(source, tmp_path, max_broken_share=0.95)

    assert [(clip.id, clip.split) for clip in description.clips] == [("mine/a.wav", "validation")]
    assert reasons(description) == {
        "does not exist": 2,
        "no recording is named": 1,
        "the recording lies outside the root": 1,
        "is not a recording in a format that can be read": 1,
        "its start or end is not a number of seconds": 1,
        "its start is not before its end": 1,
        "a segment starts after the end": 1,
        "its split is not train, validation or test": 1,
    }
    assert description.skipped[0].example == "mine/missing.wav"
    with pytest.raises(DataError, match='9 of 10 recordings are broken.*2 times "does not exist"'):
        describe(source, tmp_path)


def make_source(items: Sequence[Metadata | Skipped]) -> Source:
    return Source(
        name="made",
        title="",
        domains=("sound",),
        licence="",
        obtain="",
        layout="confirmed",
        cited="",
        read=lambda root: iter(items),
    )


def test_what_is_left_out_on_purpose_does_not_fail_a_corpus(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    items = [Skipped(id=f"{n}", reason="silence on purpose") for n in range(99)]

    description = describe(
        make_source([*items, Metadata(id="a", audio="a.wav", domain="sound")]), tmp_path
    )

    assert reasons(description) == {"silence on purpose": 99}
    with pytest.raises(DataError, match="no recordings are left"):
        describe(make_source(items), tmp_path)


def test_an_id_listed_twice_is_kept_once(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    item = Metadata(id="a", audio="a.wav", domain="sound")

    description = describe(make_source([item, item]), tmp_path, max_broken_share=0.5)

    assert len(description.clips) == 1
    assert reasons(description) == {"listed twice": 1}


def test_written_clips_are_read_back_and_the_summary_adds_up(tmp_path: Path) -> None:
    make_stamps(tmp_path)
    description = describe(find_source("tuxpaint"), tmp_path)

    write_description(description, tmp_path / "out")

    assert tuple(read_clips(tmp_path / "out/clips.jsonl")) == description.clips
    summary = json.loads((tmp_path / "out/describe.json").read_text())
    assert summary["clips"] == sum(summary["splits"].values()) == 6
    assert sum(sum(n.values()) for n in summary["attributes"]["Language"].values()) == 6
    assert summary["hours"] == pytest.approx(6 * 0.5 / 3600, abs=1e-4)
    assert sum(skip["count"] for skip in summary["skipped"]) == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"clips.jsonl", "describe.json"}


def test_describing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    make_stamps(tmp_path)
    for out in ("one", "two"):
        write_description(describe(find_source("tuxpaint"), tmp_path), tmp_path / out)

    assert (tmp_path / "one/clips.jsonl").read_bytes() == (
        tmp_path / "two/clips.jsonl"
    ).read_bytes()


texts = st.sampled_from(["", "Hello!", "hello", "HELLO ...", "¡Adiós!", "adiós", "one", "two", "3"])
clips = st.lists(st.tuples(texts, st.sampled_from("abcdefgh")), max_size=12)


@given(clips, st.integers(0, 50))
def test_no_text_and_no_recording_is_in_two_splits(known: list[tuple[str, str]], seed: int) -> None:
    splits = assign_splits([t for t, _ in known], [r for _, r in known], seed=seed)

    for (text, recording), split in zip(known, splits, strict=True):
        for (other_text, other_recording), other in zip(known, splits, strict=True):
            same_words = normalise(text) and normalise(text) == normalise(other_text)
            if same_words or recording == other_recording:
                assert split == other


@given(clips, st.randoms())
def test_splits_do_not_depend_on_the_order_of_the_clips(
    known: list[tuple[str, str]], random: Any
) -> None:
    before = dict(
        zip(known, assign_splits([t for t, _ in known], [r for _, r in known]), strict=True)
    )
    random.shuffle(known)
    after = assign_splits([t for t, _ in known], [r for _, r in known])

    assert [before[clip] for clip in known] == after


@given(st.lists(st.text("abc", min_size=1), unique=True), st.text("xyz", min_size=1))
def test_a_clip_keeps_its_split_when_others_are_added(known: list[str], new: str) -> None:
    before = assign_splits(known, known)

    # another recording of every text, and one of a new text
    after = assign_splits([*known, *known, new], [*known, *(f"{k} again" for k in known), new])

    assert after[: len(known)] == before


def test_shares_are_kept_and_the_seed_matters() -> None:
    names = [f"text {n}" for n in range(5000)]
    splits = assign_splits(names, names)

    assert splits.count("train") / 5000 == pytest.approx(0.8, abs=0.02)
    assert splits.count("validation") / 5000 == pytest.approx(0.1, abs=0.02)
    assert assign_splits(names, names, seed=1) != splits
    assert set(assign_splits(names, names, shares=(0, 0, 1))) == {"test"}
    for shares in ((0.8, 0.2), (0.8, 0.3, 0.1), (1.2, -0.1, -0.1)):
        with pytest.raises(ConfigError, match="three shares"):
            assign_splits(names, names, shares=shares)


@pytest.mark.parametrize("text", ["ಕನ್ನಡ", "हिन्दी", "ഒരു പൂവ്", "日本語", "Ёлка", "ﬁn"])
def test_normalised_text_keeps_the_words_of_any_script(text: str) -> None:
    assert normalise(f"«{text}»!") == normalise(text) != ""
    assert normalise(text) != normalise(text[:-1])


def make_executable(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def package_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of programs: the real dpkg, and an apt-get that fetches from `shelf`."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg is not installed")
    tree = tmp_path / "tree"
    write(tree / "DEBIAN/control", "Package: tunes\nVersion: 1\nArchitecture: all\n"
          "Maintainer: nobody <nobody@example.org>\nDescription: tunes\n")  # fmt: skip
    write(tree / "usr/share/tunes/tune.txt", "la la\n")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    subprocess.run(
        ["dpkg-deb", "--build", str(tree), str(shelf / "tunes_1_all.deb")],
        check=True,
        capture_output=True,
    )
    tools = tmp_path / "bin"
    tools.mkdir()
    make_executable(
        tools / "apt-get",
        f'echo "$*" >> {tmp_path}/calls; shift 2\n'
        f"for name; do cp {shelf}/${{name}}_1_all.deb . || exit 100; done",
    )
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    return tools


def test_packages_are_unpacked_once(tmp_path: Path, package_tools: Path) -> None:
    dest = tmp_path / "dest"

    assert fetch_packages(dest, ["tunes", "tunes"]) == ["tunes"]
    assert fetch_packages(dest, ["tunes"]) == []

    assert (dest / "usr/share/tunes/tune.txt").read_text() == "la la\n"
    assert (tmp_path / "calls").read_text().splitlines() == ["-q download tunes"]
    assert sorted(path.name for path in dest.iterdir()) == [".packages", "usr"]


def test_a_package_that_cannot_be_had_is_an_error_with_the_fallback(
    tmp_path: Path, package_tools: Path
) -> None:
    with pytest.raises(DataError, match="cannot download songs") as caught:
        fetch_packages(tmp_path / "dest", ["songs"])
    assert "apt-get update" in caught.value.fix
    assert "desta describe custom" in caught.value.fix


def test_a_package_that_is_damaged_is_not_taken_for_unpacked(
    tmp_path: Path, package_tools: Path
) -> None:
    (tmp_path / "shelf/songs_1_all.deb").write_bytes(b"!<arch>\ncut")

    for _ in range(2):
        with pytest.raises(DataError, match="cannot be unpacked"):
            fetch_packages(tmp_path / "dest", ["songs"])


def test_a_system_without_packages_is_told_the_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DestaError) as caught:
        fetch_packages(tmp_path / "dest", ["tunes"])
    assert "desta describe custom" in caught.value.fix
