"""A file of requests -> a file of answers: formats, bad lines, and going on after a kill."""

import json
from pathlib import Path
from typing import Any

import pytest

from desta.errors import ConfigError, DataError
from desta.inference.engine import Engine
from desta.inference.files import answer_file
from desta.llm.base import Sampling
from desta.model.checkpoint import Loaded

SHORT = Sampling(max_new_tokens=6)


@pytest.fixture
def engine(tiny: Loaded) -> Engine:
    return Engine(tiny)


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
    tally = answer_file(engine, requests, target, sampling=SHORT, batch_size=3)
    lines = read(target)

    assert list(lines) == ["one", "two", "3", "missing", "misspelt", "typed", "empty", "last"]
    assert (tally.answered, sum(count for count, _ in tally.failures.values())) == (4, 4)
    assert lines["one"]["audios"][0]["text"] == "a"
    assert lines["two"]["answers"][0]["finish"] == "length"
    assert len(lines["3"]["answers"]) == 2
    assert "does not exist" in lines["missing"]["error"]
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
    answer_file(engine, requests, whole, sampling=SHORT, batch_size=3)
    content = whole.read_bytes()
    for size in (0, 1, len(content) // 3, len(content) - 1, len(content)):
        part = tmp_path / "part.jsonl"
        part.write_bytes(content[:size])
        tally = answer_file(engine, requests, part, sampling=SHORT, batch_size=3)

        assert part.read_bytes() == content
        assert tally.already_done == content[:size].count(b"\n")


def test_answers_to_other_requests_are_not_touched(
    engine: Engine, requests: Path, tmp_path: Path
) -> None:
    target = tmp_path / "answers.jsonl"
    for content in ('{"id": "other"}\n', "no JSON\n"):
        target.write_text(content)
        with pytest.raises(ConfigError, match=r"answers\.jsonl"):
            answer_file(engine, requests, target, sampling=SHORT)
        assert target.read_text() == content
    requests.write_text("no JSON\n")
    with pytest.raises(DataError, match="is not JSON"):
        answer_file(engine, requests, tmp_path / "new.jsonl", sampling=SHORT)
