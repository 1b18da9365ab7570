"""Transcriptions as people keep them: every form gives the same rate, what is wrong is told."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from desta.errors import ConfigError, DataError
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.benchmarks.transcription.score import CER, MISLEADS, NO_WORDS, SCRIPT_WER, WER
from desta.evaluation.published import read_results_files, score_published
from desta.evaluation.published_files import NOT_ANSWERED
from support.commands import desta
from support.published import write

SAID = {"utt-1": "hello there", "utt-2": "good day", "utt-3": "yes, please"}
UNDERSTOOD = {"utt-1": "hello their", "utt-2": "good day", "utt-3": "yes please"}
RATE = pytest.approx(1 / 6, abs=1e-6)


def rate(*paths: Path, **options: Any) -> float:
    published = read_results_files(find_benchmark("transcription"), paths, **options)
    found: float = score_published(published)["systems"][0]["headline"][WER]["value"]
    return found


def table(
    reference: str, hypothesis: str, id: str = "id", suffix: str = ""
) -> list[dict[str, Any]]:
    return [{id: f"{k}{suffix}", reference: SAID[k], hypothesis: UNDERSTOOD[k]} for k in SAID]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "id"),
    [
        ("reference", "hypothesis", "id"),
        ("text", "pred_text", "audio_filepath"),  # NeMo, and the Open ASR Leaderboard
        ("sentence", "prediction", "path"),  # Common Voice
        ("target", "pred", "utt_id"),
        ("ref", "hyp", "key"),
        ("label_str", "pred_str", "file"),
        ("transcription", "output", "audio"),
        ("reference", "transcription", "id"),
        ("ground_truth", "text", "filename"),
        ("Ground Truth", "ASR-Text", "Utterance ID"),
        ("transcript", "predicted_text", "file_name"),
    ],
)
@pytest.mark.parametrize("form", ["jsonl", "json", "jsonl.gz", "csv", "tsv"])
def test_columns_are_told_by_their_names(
    tmp_path: Path, reference: str, hypothesis: str, id: str, form: str
) -> None:
    rows = table(reference, hypothesis, id)
    path = tmp_path / f"t.{form}"
    if form in ("csv", "tsv"):
        between = "," if form == "csv" else "\t"
        lines = [rows[0].keys(), *([f'"{cell}"' for cell in row.values()] for row in rows)]
        path.write_text("\ufeff" + "\n".join(between.join(line) for line in lines) + "\n")
    else:
        write(path, rows, lines=form != "json", packed=form.endswith("gz"))

    published = read_results_files(find_benchmark("transcription"), [path])
    assert [r.id for r in published.results] == list(SAID)
    assert rate(path) == RATE


def side(path: Path, texts: dict[str, str], form: str) -> Path:
    match form:
        case "lines":
            lines = list(texts.values())
        case "kaldi":
            lines = [f"{id} {text}" for id, text in reversed(texts.items())]
        case "tab":
            lines = [f"{id}\t{text}" for id, text in texts.items()]
        case "trn":
            lines = [f"{text} ({id})" for id, text in texts.items()]
        case "jsonl":
            lines = [json.dumps({"id": id, "text": text}) for id, text in texts.items()]
        case "paths":
            names = {f"/data/{id}.flac": text for id, text in texts.items()}
            lines = [json.dumps({"audio": id, "text": text}) for id, text in names.items()]
        case _:
            lines = ["id,transcription", *(f'{id},"{text}"' for id, text in texts.items())]
    path = path.with_suffix(".csv") if form == "csv" else path
    path.write_bytes("\r\n".join([*lines, ""]).encode())
    return path


@pytest.mark.parametrize("said", ["kaldi", "tab", "trn", "jsonl", "csv", "paths"])
@pytest.mark.parametrize("understood", ["kaldi", "trn", "jsonl", "csv", "paths"])
def test_files_with_ids_are_paired_by_ids(tmp_path: Path, said: str, understood: str) -> None:
    hypotheses = side(tmp_path / "hyp", UNDERSTOOD, understood)
    references = side(tmp_path / "ref", SAID, said)
    assert rate(hypotheses, references=references) == RATE
    assert rate(references, hypotheses) == rate(hypotheses, references) == RATE
    assert rate(hypotheses, data=str(references)) == RATE


@pytest.mark.parametrize("said", ["lines", "jsonl", "csv"])
def test_files_without_ids_are_paired_in_order(tmp_path: Path, said: str) -> None:
    hypotheses = side(tmp_path / "outputs.txt", UNDERSTOOD, "lines")
    references = side(tmp_path / "references.txt", SAID, said)
    assert rate(hypotheses, references=references) == RATE
    assert rate(references, hypotheses) == RATE


def test_a_line_where_nothing_was_understood_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "hyp.txt").write_text("\nb\n\n\n")
    (tmp_path / "ref.txt").write_text("a\nb\nc\u2028c\nd\n")
    assert rate(tmp_path / "hyp.txt", tmp_path / "ref.txt") == pytest.approx(4 / 5)
    (tmp_path / "hyp.txt").write_text("a\nb\nc c\nd\n\n\n")
    assert rate(tmp_path / "hyp.txt", tmp_path / "ref.txt") == 0


def test_clips_of_a_corpus_are_references(tmp_path: Path) -> None:
    clips = [
        {"id": id, "source": "s", "audio": f"{id}.wav", "duration": 1.0, "domain": "speech",
         "segments": [{"start": 0.0, "end": 1.0, "text": text}],
         "attributes": {"Language": "Hindi"}}
        for id, text in SAID.items()
    ]  # fmt: skip
    references = write(tmp_path / "clips.jsonl", clips, lines=True)
    hypotheses = side(tmp_path / "hyp.jsonl", UNDERSTOOD, "jsonl")
    done = desta("score", "transcription", hypotheses, "--references", references, "--json")
    assert done.exit_code == 0, done.output
    cells = json.loads(done.stdout)["systems"][0]["cells"]
    assert {"Hindi"} == {c["group"] for c in cells if c["dimension"] == "language"}


def test_segments_of_one_recording_are_told_apart(tmp_path: Path) -> None:
    rows = [
        {"audio_filepath": "a.wav", "offset": start, "duration": 2, "text": "a", "pred_text": "a"}
        for start in (0, 2.5, 5)
    ]
    published = read_results_files(
        find_benchmark("transcription"), [write(tmp_path / "m.json", rows, lines=True)]
    )
    assert [r.id for r in published.results] == ["a.wav", "a.wav@2.5", "a.wav@5"]
    assert {r.audio for r in published.results} == {("a.wav",)}


def test_language_of_the_option_or_of_the_row_chooses_the_rules(tmp_path: Path) -> None:
    rows = [
        {"text": "किताब", "pred": "कताब", "lang": "hi"},
        {"text": "สวัสดี", "pred": "สวัสดิ", "lang": "th_TH"},
        {"text": "a colour", "pred": "a color", "lang": None},
    ]
    path = write(tmp_path / "t.jsonl", rows, lines=True)
    done = desta("score", "transcription", path, "--json")
    (system,) = json.loads(done.stdout)["systems"]
    values = {name: figure["value"] for name, figure in system["headline"].items()}
    assert values[SCRIPT_WER] == pytest.approx(1 / 3, abs=1e-6)
    assert values[CER] == pytest.approx(1 / 6, abs=1e-6)
    assert {"reason": MISLEADS, "count": 2, "example": "line 1"} in system["remarks"]

    given = desta("score", "transcription", path, "--language", "de", "--json")
    (system,) = json.loads(given.stdout)["systems"]
    assert system["headline"][SCRIPT_WER]["value"] == pytest.approx(
        2 / 3, abs=1e-6
    )  # colour, color


def test_what_is_missing_is_counted(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "text": "", "pred": "x"},
        {"id": "b", "text": None, "pred": "x"},
        {"id": "c", "text": "x", "pred": None},
        {"id": "d", "text": "x", "pred": float("nan")},
        {"id": "e", "text": "x"},
        {"id": "f", "text": "x", "pred": ""},
        {"id": 7, "text": 7, "pred": 7},
    ]
    path = write(tmp_path / "t.jsonl", rows, lines=True)
    done = desta("score", "transcription", path, "--allow-missing", "--json")
    scores = json.loads(done.stdout)
    (system,) = scores["systems"]
    assert system["headline"][WER]["value"] == 0.5  # f is wrong, 7 is right
    assert [(n["reason"], n["count"], n["example"]) for n in system["remarks"]] == [
        (NO_WORDS, 2, "a")
    ]
    assert [(s["reason"], s["count"], s["example"]) for s in scores["skipped"]] == [
        (NOT_ANSWERED, 3, "c")
    ]


def test_recordings_that_were_not_transcribed_are_counted(tmp_path: Path) -> None:
    some = {id: text for id, text in UNDERSTOOD.items() if id != "utt-2"}
    hypotheses = side(tmp_path / "hyp.txt", some, "kaldi")
    references = side(tmp_path / "ref.txt", SAID, "kaldi")
    done = desta("score", "transcription", hypotheses, references)
    assert "no score, 1 of 3 items have no answer" in done.stdout
    with pytest.raises(DataError, match=r"ref.txt has 1 recordings that .* for example 'utt-2'"):
        rate(references, references=hypotheses)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.jsonl", '{"id": "a", "foo": "b"}', r"no column of references \(it has id, foo\)"),
        ("t.jsonl", '{"id": "a", "text": "b"}', "no column of references"),
        ("t.jsonl", '{"id": "a", "reference": "b"}', "no column of hypotheses"),
        ("t.jsonl", '{"text": "a", "sentence": "b"}', "no column of references"),
        ("t.jsonl", '{"id": 1, "ref": "a", "hyp": "a"}\n' * 2, "id '1' occurs 2 times"),
        ("t.jsonl", '{"ref": "a", "hyp": "a"}\n{', "line 2 of .*t.jsonl is not JSON: Expecting"),
        ("t.jsonl", '{"ref": \n{"ref": "a", "hyp": "a"}\n', "line 1 of .*is not JSON: .* column 9"),
        ("t.json", '[\n {"ref": "a",\n "hyp" "a"}]', "t.json is not JSON: .*line 3 column 8"),
        ("t.jsonl", '{"ref": "a", "hyp": ["a"]}\n' * 2, r"'hyp' of row 1 is no text, but \['a'\]"),
        ("t.jsonl", '{"ref": {"text": "a"}, "hyp": "a"}', "'ref' of row 1 is no text, but {'text'"),
        ("t.jsonl", '{"ref": true, "hyp": "a"}', "'ref' of row 1 is no text, but True"),
        ("t.json", '{"references": ["a", "b"], "hyp": ["a"]}', "holds 2 references and 1 hyp"),
        ("t.stm", ";; comment\na 1 s 0 2 <o,f0> hello\n", "words with their times"),
        ("t.json", "[]", "is not a list of JSON objects"),
        ("t.csv", "utt1,hello\nutt2,day\n", r"no column of references \(it has utt1, hello\)"),
        ("t.csv", "ref,hyp\n", "has no rows"),
        ("t.csv", "ref,ref\na,b\n", "two columns"),
        ("t.csv.gz", gzip.compress(b"ref,hyp\na,b\n", mtime=0), "is a packed table"),
        ("t.jsonl", "{}", r"\(it has none\)"),
        ("t.txt", "hello there\n", "no more than one text a line"),
        ("t.txt", "\n \n", "is empty"),
        ("t.txt", b"\xff\xfeh\x00", "is not UTF-8"),
        ("t.txt", gzip.compress(b"hello\n" * 99, mtime=0)[:-9], "is not whole"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=words):
        rate(path)


def test_what_is_wrong_with_a_pair_is_one_sentence(tmp_path: Path) -> None:
    two = side(tmp_path / "two.txt", {"1": "a", "2": "b"}, "lines")
    three = side(tmp_path / "three.txt", SAID, "lines")
    with pytest.raises(DataError, match=r"three.txt has 3 lines and .*two.txt 2"):
        rate(two, references=three)
    with pytest.raises(ConfigError, match="do not tell which of them holds what was said"):
        rate(two, three)
    with pytest.raises(DataError, match="is not a file"):
        rate(two, references=tmp_path / "none.txt")
    with pytest.raises(ConfigError, match="--data and --references"):
        rate(two, references=three, data=str(three))
    ids = side(tmp_path / "ids.txt", SAID, "kaldi")
    copies = tmp_path / "copies.txt"
    copies.write_text("utt-1 a\nutt-1 b\nutt-2 c\n")
    for other in (three, copies):
        with pytest.raises(DataError, match=r"lines of .*ids.txt begin with ids, and those of"):
            rate(other, references=ids)
    with pytest.raises(DataError, match=r"lines of .*ids.txt begin with ids, and those of"):
        rate(ids, references=three)
    twice = tmp_path / "twice.txt"
    twice.write_text("utt-1\ta\nutt-1\tb\n")
    with pytest.raises(DataError, match=r"twice.txt: id 'utt-1' occurs 2 times"):
        rate(twice, references=three)
    for option in ({"references": three}, {"language": "hi"}):
        with pytest.raises(ConfigError, match="cannot be used with mmau"):
            read_results_files(find_benchmark("mmau"), [two], **option)


@pytest.mark.parametrize(
    "content",
    [
        '{"model": "m", "predictions": [{"id": "a", "ref": "x y", "hyp": "x"}]}',
        '[{"id": "a", "ref": "x y", "hyp": "x", "segments": [{"text": "x"}]}]',
        '{"id": "a", "ref": "x y", "hyp": "x", "segments": [{"text": "x"}]}',
        '\ufeff{"id": "a", "ref": "x y", "hyp": "x"}\r\n',
        '{"id": "a", "ref": "x \\ud800", "hyp": "x \\ud801"}',
    ],
)
def test_json_of_one_recording_is_read(tmp_path: Path, content: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(content, encoding="utf-8", newline="")
    done = desta("score", "transcription", path, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["systems"][0]["headline"][WER]["value"] == 0.5


def test_texts_that_begin_with_numbers_are_not_taken_for_ids(tmp_path: Path) -> None:
    (tmp_path / "hyp.txt").write_text("20 dogs\n30 cats\n")
    (tmp_path / "ref.txt").write_text("20 dogs\n40 cats\n")
    assert rate(tmp_path / "hyp.txt", tmp_path / "ref.txt") == pytest.approx(1 / 4)
    (tmp_path / "hyp.txt").write_text("covid-19 is over\n")
    (tmp_path / "ref.txt").write_text("covid-20 is over\n")
    assert rate(tmp_path / "hyp.txt", tmp_path / "ref.txt") > 0


@pytest.mark.parametrize(
    "names",
    [
        ("/x/A/1.wav", "/x/B/1.wav", "/x/B/2.wav"),
        ("C:\\x\\A\\1.flac", "C:\\x\\B\\1.flac", "C:\\x\\B\\2.flac"),
        ("A/1", "B/1", "2"),
    ],
)
def test_paths_from_two_places_are_paired_by_the_ends_that_tell_them_apart(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    ends = ("/data/A/1.mp3", "/data/B/1.mp3", "/data/B/2.mp3")
    said = [{"audio": a, "text": t} for a, t in zip(ends, SAID.values(), strict=True)]
    understood = [{"path": a, "text": t} for a, t in zip(names, UNDERSTOOD.values(), strict=True)]
    references = write(tmp_path / "ref.jsonl", said, lines=True)
    hypotheses = write(tmp_path / "hyp.jsonl", understood[::-1], lines=True)
    assert rate(hypotheses, references=references) == RATE


def test_paths_that_the_references_do_not_tell_apart_are_refused(tmp_path: Path) -> None:
    rows = [{"audio": f"/x/{name}/1.wav", "text": "good day"} for name in "AB"]
    hypotheses = write(tmp_path / "hyp.jsonl", rows, lines=True)
    references = write(tmp_path / "ref.jsonl", [{"audio": "1.wav", "text": "good day"}], lines=True)
    with pytest.raises(DataError, match=r"has 2 recordings that .* for example '/x/A/1.wav'"):
        rate(hypotheses, references=references)
    with pytest.raises(DataError, match=r"has 1 recordings that .* for example '1.wav'"):
        rate(references, references=hypotheses)


def test_a_recording_in_two_files_of_transcriptions_is_refused(tmp_path: Path) -> None:
    references = side(tmp_path / "ref.txt", SAID, "kaldi")
    parts = [side(tmp_path / name, UNDERSTOOD, "kaldi") for name in ("a", "b")]
    with pytest.raises(DataError, match=r"/a, .*/b: id 'utt-3' occurs 2 times"):
        rate(*parts, references=references)
    whole = [write(tmp_path / name, table("ref", "hyp")) for name in ("c.json", "d.json")]
    with pytest.raises(DataError, match="id 'utt-1' occurs 2 times"):
        rate(*whole)


@pytest.mark.parametrize(
    "content",
    [
        "rec1 1 0.0 0.5 hello\nrec1 1 0.5 0.5 word 0.98\n",
        ";; comment\nrec1 1 spk1 0 2 hello\n",
        "rec1 A spk1 0.0 2.0 <o,f0,male> hello world\n",
        "1\n00:00:00,000 --> 00:00:02,000\nhello word\n",
        "WEBVTT\n\n00:00.000 --> 00:02.000\nhello word\n",
    ],
)
def test_words_with_times_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "hyp.txt").write_text(content)
    (tmp_path / "ref.txt").write_text("hello world\n")
    with pytest.raises(DataError, match="holds words with their times"):
        rate(tmp_path / "hyp.txt", references=tmp_path / "ref.txt")
    with pytest.raises(DataError, match="holds words with their times"):
        rate(tmp_path / "ref.txt", references=tmp_path / "hyp.txt")


def test_lists_of_texts_are_read_as_columns(tmp_path: Path) -> None:
    columns = {"predictions": list(UNDERSTOOD.values()), "references": list(SAID.values())}
    more = {"model": "m", "language": "en", "wer": [0.5], "id": list(SAID)}
    assert rate(write(tmp_path / "a.json", columns)) == RATE
    path = write(tmp_path / "b.json", columns | more)
    published = read_results_files(find_benchmark("transcription"), [path])
    assert [r.id for r in published.results] == list(SAID)
    alone = write(tmp_path / "hyp.json", {"predictions": columns["predictions"]})
    assert rate(alone, references=side(tmp_path / "ref.txt", SAID, "lines")) == RATE


def test_first_words_are_ids_where_the_other_file_has_them(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("alice hello world\n")
    (tmp_path / "hyp.txt").write_text("alice hello word\n")
    assert rate(tmp_path / "hyp.txt", references=tmp_path / "text") == 1 / 2
    rows = [{"audio": "/x/alice.wav", "text": "hello world"}, {"audio": "bob.wav", "text": "yes"}]
    references = write(tmp_path / "ref.jsonl", rows, lines=True)
    (tmp_path / "hyp.txt").write_text("bob yes\nalice hello word\n")
    assert rate(tmp_path / "hyp.txt", references=references) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("B52 is a plane\nMP3 is a file\n", "b52 is a plane\nmp3 is a file\n"),
        ("B52 is a plane\nMP3 is a file\n", "B52 is a plane\nMP3 is a file\n"),
        ("A4 is paper\nA5 is small\n", "a4 is paper\na5 is small\n"),
        ("covid-19 is over\ncovid-20 is new\n", "Covid 19 is over\nCovid 20 is new\n"),
    ],
)
def test_first_words_of_sentences_are_words(tmp_path: Path, said: str, understood: str) -> None:
    (tmp_path / "ref.txt").write_text(said)
    (tmp_path / "hyp.txt").write_text(understood)
    published = read_results_files(
        find_benchmark("transcription"), [tmp_path / "hyp.txt"], references=tmp_path / "ref.txt"
    )
    assert [r.item.target for r in published.results] == said.splitlines()
    assert [r.output for r in published.results] == understood.splitlines()


def test_a_language_that_is_not_known_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "t.json", [{"ref": "a", "hyp": "a", "lang": "hindy"}])
    rate(path)
    assert "language 'hindy' is not known" in caplog.text
    assert 'did you mean "Hindi"?' in caplog.text
    caplog.clear()
    rate(path, language="hi-IN")
    assert "not known" not in caplog.text
    rate(path, language="klingon")
    assert "language 'klingon' is not known" in caplog.text
