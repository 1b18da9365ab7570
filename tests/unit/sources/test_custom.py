"""A corpus of one's own, in a table or a data set."""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from desta.config import build_config, load_recipe
from desta.errors import ConfigError, DataError
from desta.sources.custom import Columns, CustomRecipe, custom_source
from desta.sources.describe import describe
from desta.sources.tables import read_table
from support.recordings import record
from support.sources import reasons, write

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
    return build_config(CustomRecipe, {"name": "mine", **values}, where="recipe")


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
    assert [n.example for n in description.skipped.values()] == ["mine/c.wav"]


@pytest.mark.parametrize("table", ["rows.csv", "rows.tsv", "rows.jsonl"])
def test_words_of_a_table_are_found_as_a_recipe_writes_them(tmp_path: Path, table: str) -> None:
    words = ["no", "1", "1_000", "2020-01-01", "null", "on", "True"]
    for number in range(len(words)):
        record(tmp_path / f"{number}.wav", seed=number)
    rows = [{"audio": f"{n}.wav", "no": word} for n, word in enumerate(words)]
    write_rows(tmp_path / table, rows)
    write(
        tmp_path / "mine.yaml",
        f"name: mine\ntable: {table}\nattributes: {{Emotion: no, Day: no}}\nvalues:\n"
        "  Emotion: {no: Calm, 1: Happy, 1_000: Loud, 2020-01-01: Old,\n"
        "            null: 1, on: off, True: yes}\n",
    )
    mapped = load_recipe(tmp_path / "mine.yaml", CustomRecipe)
    clips = describe(custom_source(mapped), tmp_path).clips
    found = {clip.attributes["Day"]: clip.attributes["Emotion"] for clip in clips}
    assert list(found.values()) == ["Calm", "Happy", "Loud", "Old", "1", "off", "yes"]
    assert list(found) == words


def test_booleans_and_numbers_of_json_are_found_as_it_writes_them(tmp_path: Path) -> None:
    values: list[Any] = [True, False, 1, 2.5]
    for number in range(len(values)):
        record(tmp_path / f"{number}.wav", seed=number)
    write_rows(
        tmp_path / "rows.jsonl", [{"audio": f"{n}.wav", "x": v} for n, v in enumerate(values)]
    )
    for yes in ("true", "True"):
        write(
            tmp_path / "mine.yaml",
            "name: mine\ntable: rows.jsonl\nattributes: {Emotion: x}\n"
            f"values: {{Emotion: {{{yes}: Calm, false: Angry, 1: Happy, 2.5: Sad}}}}\n",
        )
        mapped = load_recipe(tmp_path / "mine.yaml", CustomRecipe)
        clips = describe(custom_source(mapped), tmp_path).clips
        assert [c.attributes["Emotion"] for c in clips] == ["Calm", "Angry", "Happy", "Sad"]


def test_translations_of_other_words_are_said_and_no_recording_is_blamed(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    write(tmp_path / "rows.csv", "audio,sex\na.wav,W\n")
    values = {"Gender": {"F": "Female"}}
    source = custom_source(recipe(table="rows.csv", attributes={"Gender": "sex"}, values=values))
    with pytest.raises(DataError, match='none of the words in values.Gender: .*"sex" holds W'):
        describe(source, tmp_path)


def test_codes_and_names_of_one_language_are_one_value(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    write(tmp_path / "rows.csv", "audio,lang,from\na.wav,en,0\na.wav,English,0.2\n")
    columns = {"language": "lang", "start": "from"}

    (clip,) = describe(custom_source(recipe(table="rows.csv", columns=columns)), tmp_path).clips

    assert clip.attributes == {"Language": "English"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"table": "a.csv", "values": {"Mood": {"a": "b"}}}, "which is not an attribute"),
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
    assert description.skipped.most_common()[0][1].example == "mine/missing.wav"
    with pytest.raises(DataError, match='9 of 10 recordings are broken.*2 times "does not exist"'):
        describe(source, tmp_path)


@pytest.mark.parametrize(
    ("first", "between"),
    [
        *(("sep=;", ";"), ('"sep=;"', ";"), ("SEP=;", ";"), ("sep=\t", "\t"), ("sep=,", ",")),
        *(("sep=|", "|"), ("sep=;;;", ";"), ("sep= ;", ";"), ("sep=,,", ","), ("sep=;\t", ";")),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_first_line_may_name_what_separates_the_columns(
    tmp_path: Path, first: str, between: str, mark: str, end: str
) -> None:
    lines = [first, f"path{between}words", f"a.wav{between}Guten Tag", f"b.wav{between}Hello"]
    (tmp_path / "rows.csv").write_bytes(f"{mark}{end.join(lines)}{end}".encode())
    assert read_table(tmp_path / "rows.csv") == [
        {"path": "a.wav", "words": "Guten Tag"},
        {"path": "b.wav", "words": "Hello"},
    ]


def test_a_column_may_be_called_sep(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("sep=,path\n1,a.wav\n")
    assert read_table(tmp_path / "rows.csv") == [{"sep=": "1", "path": "a.wav"}]


def test_a_url_in_a_table_is_counted_as_one(tmp_path: Path) -> None:
    make_corpus(tmp_path, "rows.csv", [*ROWS, ROWS[0] | {"path": "https://x.org/c.wav"}])
    found = describe(
        custom_source(recipe(table="rows.csv", **MAPPING)), tmp_path, max_broken_share=0.5
    )
    assert reasons(found) == {"is a URL, and URLs are not fetched": 1}
    with pytest.raises(DataError, match=r"^https://x.org/corpus is a URL"):
        describe(custom_source(recipe(table="rows.csv")), Path("https://x.org/corpus"))


def test_a_column_of_speakers_keeps_each_in_one_split(tmp_path: Path) -> None:
    rows = [{"path": f"{n}.wav", "who": f"speaker {n // 2}"} for n in range(40)]
    for n in range(40):
        record(tmp_path / f"{n}.wav", seed=n)
    write_rows(tmp_path / "rows.csv", rows)
    mapped = recipe(table="rows.csv", columns={"audio": "path", "group": "who"})

    clips = describe(custom_source(mapped), tmp_path).clips

    assert [c.split for c in clips[::2]] == [c.split for c in clips[1::2]]
    assert len({c.split for c in clips}) > 1
