"""A file of requests -> a file of answers: formats, bad lines, and going on after a kill."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from desta.errors import ConfigError, DataError
from desta.inference.batch_file import answer_file
from desta.inference.engine import Engine
from desta.lines import LineFile
from desta.model.backbone.sampling import Sampling
from desta.reasons import Count

WRONG: dict[str, dict[str, Any]] = {
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}]}]},
    "no messages": {"messages": []},
    "number": {"question": 5},
    "nested": {"question": "What?", "audios": [{"audio": "a.wav"}]},
    "clips in a word": {"question": "What?", "audios": "a.wav"},
    "texts in a word": {"question": "What?", "audios": ["a.wav"], "texts": "a"},
    "clips in a number": {"question": "What?", "audios": 5},
    "null clip": {"question": "What?", "audios": [None]},
    "text seed": {"question": "What?", "seed": "7"},
    "huge seed": {"question": "What?", "seed": 2**64},
    "half answers": {"question": "What?", "num_answers": 2.5},
    "many logprobs": {"question": "What?", "num_logprobs": 10**9},
}
SHORT = Sampling(max_new_tokens=6)


@pytest.fixture
def requests(tmp_path: Path, published_tiny: Path) -> Path:
    clip = str(published_tiny / "a.wav")
    turn = {"role": "user", "content": "<|AUDIO|> What?", "audios": [{"audio": clip, "text": "a"}]}
    lines: list[Any] = [
        {"id": "one", "messages": [turn]},
        {"id": "two", "audios": [clip], "texts": ["a"], "question": "What?", "max_new_tokens": 2},
        {"question": "Hello?", "num_answers": 2, "temperature": 1.0, "seed": 3},
        {"id": "missing", "audios": ["nowhere.wav"], "question": "What?"},
        {"id": "misspelt", "question": "What?", "temprature": 1.0},
        {"id": "typed", "question": "What?", "temperature": "hot"},
        {"id": "empty"},
        *({"id": id, **line} for id, line in WRONG.items()),
        {"id": "last", "question": "Bye?", "num_logprobs": 1},
    ]
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def read(path: Path) -> dict[str, Any]:
    return {line["id"]: line for line in map(json.loads, path.open())}


def test_every_line_is_answered_or_says_why_not(
    engine: Engine, requests: Path, tmp_path: Path
) -> None:
    target = tmp_path / "answers.jsonl"
    tally = answer_file(
        engine, requests, target, sampling=SHORT, batch_size=3, max_failed_share=1.0
    )
    lines = read(target)

    assert list(lines) == [
        *["one", "two", "3", "missing", "misspelt", "typed", "empty"],
        *WRONG,
        "last",
    ]
    assert (tally.answered, tally.failures.total) == (4, 4 + len(WRONG))
    for id in WRONG:
        told = lines[id]["error"]
        assert any(
            word in told for word in ("request", "whole number", "no messages", "no list")
        ), id
    assert lines["one"]["audios"][0]["text"] == "a"
    assert lines["two"]["answers"][0]["finish"] == "length"
    assert len(lines["3"]["answers"]) == 2
    assert "does not exist" in lines["missing"]["error"]
    assert lines["missing"]["reason"] == "does not exist"
    assert lines["misspelt"]["fix"] == 'did you mean "temperature"?'
    assert "temperature" in lines["typed"]["error"]
    assert "messages" in lines["empty"]["error"]
    assert len(lines["last"]["answers"][0]["logprobs"]) == 6


def test_an_interrupted_file_goes_on_where_it_stopped(
    engine: Engine, requests: Path, tmp_path: Path
) -> None:
    lines = requests.read_text().splitlines(keepends=True)
    requests.write_text("".join(lines[:-1]))  # the last digits of log-probabilities may differ
    whole = tmp_path / "whole.jsonl"
    options: dict[str, Any] = {"sampling": SHORT, "batch_size": 3, "max_failed_share": 1.0}
    expected = answer_file(engine, requests, whole, **options)
    content = whole.read_bytes()
    for size in (0, 1, len(content) // 3, len(content) - 1, len(content)):
        part = tmp_path / "part.jsonl"
        part.write_bytes(content[:size])
        tally = answer_file(engine, requests, part, **options)

        assert part.read_bytes() == content
        assert tally.already_done == content[:size].count(b"\n")
        assert (tally.answered, tally.failures) == (expected.answered, expected.failures)


def test_sampled_lines_follow_from_seed_and_id_and_not_from_interruptions(
    engine: Engine, tmp_path: Path
) -> None:
    source, whole, part = (tmp_path / f"{name}.jsonl" for name in ("in", "whole", "part"))
    source.write_text(6 * '{"question": "Hello?"}\n' + '{"question": "Hello?", "seed": 1}\n')
    hot = Sampling(temperature=1.5, max_new_tokens=6)
    options: dict[str, Any] = {"sampling": hot, "batch_size": 2}
    answer_file(engine, source, whole, **options)
    content = whole.read_bytes()
    texts = [line["answers"][0]["text"] for line in read(whole).values()]
    assert len(set(texts)) == 7

    torch.manual_seed(5)
    part.write_bytes(b"".join(content.splitlines(keepends=True)[:3]))
    answer_file(engine, source, part, **options)
    assert part.read_bytes() == content

    answer_file(engine, source, tmp_path / "other.jsonl", seed=1, **options)
    others = [line["answers"][0]["text"] for line in read(tmp_path / "other.jsonl").values()]
    assert [a == b for a, b in zip(texts, others, strict=True)] == [False] * 6 + [True]


def test_answers_to_other_requests_are_not_touched(
    engine: Engine, requests: Path, tmp_path: Path
) -> None:
    target = tmp_path / "answers.jsonl"
    other = '{"id": "one", "request": "0123456789abcdef"}\n'
    for content in (other, f'{other}{{"id": "tw', "no JSON\n", "one line without an end"):
        target.write_text(content)
        with pytest.raises(ConfigError, match=r"answers\.jsonl"):
            answer_file(engine, requests, target, sampling=SHORT)
        assert target.read_text() == content
    with pytest.raises(ConfigError, match="the same file"):
        answer_file(engine, requests, requests, sampling=SHORT)


def test_answers_under_other_settings_or_to_changed_questions_are_not_taken_for_done(
    engine: Engine, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"question": "Hello?"}\n')
    answer_file(engine, source, target, sampling=SHORT, model="a")
    assert answer_file(engine, source, target, sampling=SHORT, model="a").already_done == 1
    for options in (
        {"model": "b"},
        {"model": "a", "system_prompt": "Be brief."},
        {"model": "a", "seed": 1},
    ):
        with pytest.raises(ConfigError, match="of other settings"):
            answer_file(engine, source, target, sampling=SHORT, **options)
    source.write_text('{"question": "Bye?"}\n')
    with pytest.raises(ConfigError, match="other requests"):
        answer_file(engine, source, target, sampling=SHORT, model="a")


def test_two_processes_do_not_write_into_one_file(
    engine: Engine, requests: Path, tmp_path: Path
) -> None:
    target = tmp_path / "answers.jsonl"
    with (
        LineFile(target, busy=DataError("", fix="")),
        pytest.raises(DataError, match=r"another process writes .*answers\.jsonl"),
    ):
        answer_file(engine, requests, target, sampling=SHORT)
    answer_file(engine, requests, target, sampling=SHORT, max_failed_share=1.0)


def test_a_file_in_which_too_much_fails_is_an_error(
    engine: Engine, requests: Path, tmp_path: Path
) -> None:
    target = tmp_path / "answers.jsonl"
    with pytest.raises(DataError, match="requests failed, more than 50%"):
        answer_file(engine, requests, target, sampling=SHORT)
    assert len(read(target)) == 8 + len(WRONG)
    with pytest.raises(DataError, match="requests failed, more than 50%"):  # and given again
        answer_file(engine, requests, target, sampling=SHORT)


def test_a_file_that_is_no_json_is_refused(engine: Engine, requests: Path, tmp_path: Path) -> None:
    requests.write_text("no JSON\n")
    with pytest.raises(DataError, match="is not JSON"):
        answer_file(engine, requests, tmp_path / "new.jsonl", sampling=SHORT)


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (["a", "b", "a"], r'the id "a" twice, in requests 1 and 3$'),
        (["a", "a", "b", "b", "a"], r'the id "a" twice, in requests 1 and 2 \(2 ids'),
        (["a", 3, None], r'the id "3" twice, in requests 2 and 3$'),  # None: its number
        ([1, None, "1"], r'the id "1" twice, in requests 1 and 3$'),
    ],
)
def test_answers_that_could_not_be_told_apart_are_refused(
    engine: Engine, tmp_path: Path, ids: list[Any], told: str
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [{"question": "Hello?"} | {"id": id} for id in ids]
    source.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(DataError) as caught:
        answer_file(engine, source, target, sampling=SHORT)
    assert re.search(told, caught.value.message)
    assert not target.exists()


def test_what_failed_is_asked_again_in_its_place(
    engine: Engine, tmp_path: Path, published_tiny: Path
) -> None:
    source, target, whole = (tmp_path / name for name in ("in.jsonl", "out.jsonl", "whole.jsonl"))
    clip = tmp_path / "clip.wav"
    asked: list[dict[str, Any]] = [
        {"id": "a", "audios": [str(clip)], "texts": ["a"], "question": "What?"},
        {"id": "b", "question": "Hello?"},
        {"id": "c", "question": "Bye?", "temprature": 1.0},
        {"id": "d", "audios": ["nowhere.wav"], "question": "What?"},
        {"id": "e", "question": "Hello?"},
    ]

    def write(*requests: dict[str, Any]) -> None:
        source.write_text("".join(f"{json.dumps(request)}\n" for request in requests))

    def answer(path: Path, **more: Any) -> Any:
        return answer_file(
            engine, source, path, sampling=SHORT, batch_size=2, max_failed_share=1.0, **more
        )

    write(*asked)
    clip.write_text("no sound")
    first = answer(target)
    assert (first.answered, first.failures.total) == (2, 3)
    before = target.read_bytes()
    answer(target)
    assert target.read_bytes() == before, "unless --retry says so, nothing is asked again"

    clip.write_bytes((published_tiny / "a.wav").read_bytes())
    asked[2] = {"id": "c", "question": "Bye?"}
    write(*asked)
    with pytest.raises(ConfigError, match="other requests") as caught:
        answer(target)
    assert "--retry" in caught.value.fix
    write(*asked[:2], asked[2] | {"id": "other"}, *asked[3:])
    for retry in (False, True):
        with pytest.raises(ConfigError, match="other requests") as caught:
            answer(target, retry=retry)
        assert "--retry" not in caught.value.fix, "it would be refused as well"
    write(*asked)
    again = answer(target, retry=True)
    assert (again.answered, again.failures.total, again.already_done) == (4, 1, 2)
    expected = answer(whole)
    assert target.read_bytes() == whole.read_bytes(), "as if it had been asked so at first"
    assert again.failures == expected.failures == {"does not exist": Count(count=1, example="d")}
    assert not list(tmp_path.glob("*out.jsonl.again*")), "nor what locked it"

    # cut off after the first of what was to be asked again, within the second
    lines = whole.read_bytes().splitlines(keepends=True)
    target.write_bytes(before)
    target.with_name("out.jsonl.again").write_bytes(lines[0] + lines[2][:20])
    link = tmp_path / "links" / "link.jsonl"
    link.parent.mkdir()
    link.symlink_to(target)
    answer(link, retry=True)
    assert link.is_symlink()
    assert target.read_bytes() == whole.read_bytes()

    asked[1]["question"] = "Another?"  # what has an answer keeps it
    write(*asked)
    with pytest.raises(ConfigError, match="other requests"):
        answer(target, retry=True)
    assert target.read_bytes() == whole.read_bytes()
