"""One bad item among good ones: it is counted with its reason, and the others are answered."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from desta import audio
from desta.errors import CheckpointError, DataError, NoNumberError
from desta.inference.batch_file import answer_file
from desta.inference.conversation import Conversation
from desta.inference.engine import Engine
from desta.isolation import HALF, NO_NUMBER
from desta.model.backbone.sampling import Sampling
from desta.model.checkpoint import Loaded
from desta.reasons import Count
from desta.records import AudioRef
from support.asking import ask

GREEDY = Sampling(max_new_tokens=4)
RATE = audio.SAMPLE_RATE


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every level through, as a decoder that knows no limits does."""
    load = audio.load_audio

    def plain(source: Any, **options: Any) -> np.ndarray:
        if isinstance(source, str) and "loud" in source:
            return soundfile.read(source, dtype="float32")[0]
        return load(source, **options)

    monkeypatch.setattr(audio, "load_audio", plain)


def write_clip(path: Path, level: float, seed: int = 0) -> str:
    samples = np.random.default_rng(seed).standard_normal(RATE).astype(np.float32)
    soundfile.write(path, samples * np.float32(level), RATE, subtype="FLOAT")
    return str(path)


def write_requests(path: Path, lines: Sequence[Any]) -> Path:
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return path


def answers(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.open()]


def clips(folder: Path, bad: str) -> list[dict[str, Any]]:
    """Seven requests about clips of their own, one of them bad."""
    good = [write_clip(folder / f"{n}.wav", 0.1, seed=n) for n in range(6)]
    paths = [*good[:3], bad, *good[3:]]
    return [
        {"audios": [p], "texts": ["a"], "question": "What?", "id": str(n)}
        for n, p in enumerate(paths)
    ]


@pytest.mark.usefixtures("raw")
@pytest.mark.parametrize("level", [1e25, 1e30, 1e38])
def test_a_clip_that_makes_the_model_compute_nan_is_the_only_one_lost_at_every_call(
    engine: Engine, tmp_path: Path, level: float
) -> None:
    bad = write_clip(tmp_path / "loud.wav", level)
    source = write_requests(tmp_path / "in.jsonl", clips(tmp_path, bad))
    target = tmp_path / "out.jsonl"
    for retry in (False, False, True):
        tally = answer_file(engine, source, target, sampling=GREEDY, retry=retry)
        assert (tally.answered, tally.failures) == (6, {NO_NUMBER: Count(count=1, example="3")})
    told = answers(target)[3]
    assert told["error"].startswith(f"{bad} {NO_NUMBER}: its samples reach ")

    write_clip(tmp_path / "loud.wav", 0.1)  # it is mended
    tally = answer_file(engine, source, target, sampling=GREEDY, retry=True)
    assert (tally.answered, tally.failures.total) == (7, 0)


@pytest.mark.usefixtures("raw")
def test_a_clip_is_transcribed_beside_one_that_makes_the_model_compute_nan(
    engine: Engine, tmp_path: Path, published_tiny: Path
) -> None:
    bad = write_clip(tmp_path / "loud.wav", 1e30)
    good = str(published_tiny / "a.wav")
    alone = engine.audio_encoder.encode([AudioRef(audio=good)])[0]
    engine.audio_encoder.clear_cache()
    lost, heard = engine.audio_encoder.encode([AudioRef(audio=bad), AudioRef(audio=good)])
    assert isinstance(lost, DataError)
    assert heard.text == alone.text


@pytest.mark.parametrize("where", ["encoder", "connector"])
def test_a_model_that_makes_nan_of_everything_is_damaged(
    tiny: Loaded, published_tiny: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    name = {"encoder": "encode", "connector": "audio_tokens"}[where]
    whole = getattr(tiny.model, name)

    def spoilt(given: Any) -> Any:
        found = whole(given)
        for tensor in [found] if isinstance(found, torch.Tensor) else [found.last_BTD]:
            tensor.fill_(torch.nan)
        return found

    monkeypatch.setattr(tiny.model, name, spoilt)
    request = ask("What?", published_tiny / "a.wav")
    with pytest.raises(NoNumberError, match="are damaged"):
        Engine(tiny).run([request, request])


def test_a_backbone_that_makes_nan_of_everything_is_damaged(
    tiny: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = tiny.model.llm_model.forward

    def spoilt(*args: Any, **options: Any) -> Any:
        found = forward(*args, **options)
        found.logits.fill_(torch.nan)
        return found

    monkeypatch.setattr(tiny.model.llm_model, "forward", spoilt)
    for requests in ([ask("What?")], [ask("What?"), ask("Who?")]):
        with pytest.raises(CheckpointError, match="are damaged"):
            Engine(tiny).run(requests)


@pytest.mark.parametrize("late", [0, 2])
def test_a_request_of_which_the_backbone_makes_nan_is_lost_alone(
    tiny: Loaded, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    """Rows that begin with a sign are spoilt, at the first token or at a later one."""
    model = tiny.model.llm_model
    sign = engine_ids(tiny, "zzz")
    forward = model.forward
    spoilt_rows: list[bool] = []
    steps = 0

    def spoil(*args: Any, **options: Any) -> Any:
        nonlocal steps, spoilt_rows
        found = forward(*args, **options)
        embeddings = options.get("inputs_embeds")
        if embeddings is not None and len(embeddings[0]) > 1:
            table = model.get_input_embeddings().weight[sign]
            spoilt_rows = [bool((row == table).all(dim=-1).any()) for row in embeddings]
            steps = 0
        if steps >= late and len(spoilt_rows) == len(found.logits):
            found.logits[torch.tensor(spoilt_rows)] = torch.nan
        steps += 1
        return found

    monkeypatch.setattr(model, "forward", spoil)
    engine = Engine(tiny)
    questions = ["a?", "b?", "zzz", "c?"]
    replies = engine.run([ask(q, sampling=GREEDY) for q in questions])
    assert [reply.error is None for reply in replies] == [True, True, False, True]
    assert replies[2].error is not None
    assert replies[2].error.reason == NO_NUMBER
    assert [r.unwrap()[0].ids for r in (replies[0], replies[3])] == [
        engine.run([ask(q, sampling=GREEDY)])[0].unwrap()[0].ids for q in ("a?", "c?")
    ]


def engine_ids(tiny: Loaded, text: str) -> int:
    """Return a token that this text has and the other questions have not."""
    own = set(tiny.tokenizer.encode(text, add_special_tokens=False))
    return min(own - set(tiny.tokenizer.encode("a? b? c? Hello", add_special_tokens=False)))


def fail_on(bad: str, error: Exception, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that raises an error wherever this clip is among what it is given."""

    def failing(*args: Any, **options: Any) -> Any:
        if any(bad in str(arg) for arg in args):
            raise error
        return function(*args, **options)

    return failing


@pytest.mark.parametrize(
    "error", [MemoryError("Unable to allocate 3 GiB"), RuntimeError("boom\ud800"), KeyError(3)]
)
def test_whatever_a_clip_raises_while_it_is_read_is_its_own_affair(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    bad = write_clip(tmp_path / "odd.wav", 0.1, seed=99)
    monkeypatch.setattr(audio, "load_audio", fail_on("odd.wav", error, audio.load_audio))
    source = write_requests(tmp_path / "in.jsonl", clips(tmp_path, bad))
    tally = answer_file(engine, source, tmp_path / "out.jsonl", sampling=GREEDY)
    [(reason, failed)] = tally.failures.items()
    assert (tally.answered, failed) == (6, Count(count=1, example="3"))
    assert ("memory" if isinstance(error, MemoryError) else type(error).__name__) in reason


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: out of memory")])
def test_whatever_a_clip_raises_in_the_encoder_is_its_own_affair(
    tiny: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    bad = write_clip(tmp_path / "odd.wav", 0.5, seed=99)
    encode = tiny.model.encode

    def failing(mel: Any) -> Any:
        if float(mel.features_BMF.max()) > 1.2:
            raise error
        return encode(mel)

    monkeypatch.setattr(tiny.model, "encode", failing)
    loudest = tiny.model.mel([audio.load_audio(bad)]).features_BMF.max()
    others = tiny.model.mel(
        [audio.load_audio(write_clip(tmp_path / "x.wav", 0.1))]
    ).features_BMF.max()
    assert others < 1.2 < loudest
    source = write_requests(tmp_path / "in.jsonl", clips(tmp_path, bad))
    tally = answer_file(Engine(tiny), source, tmp_path / "out.jsonl", sampling=GREEDY)
    assert (tally.answered, tally.failures.total) == (6, 1)


def test_an_encoder_that_fails_at_silence_too_ends_the_work(
    tiny: Loaded, published_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(mel: Any) -> Any:
        raise RuntimeError("no such device")

    monkeypatch.setattr(tiny.model, "encode", broken)
    with pytest.raises(RuntimeError, match="no such device"):
        Engine(tiny).run([ask("What?", published_tiny / "a.wav")])


DEEP = '{"question": ' + "[" * 20_000 + "]" * 20_000 + "}"
ODD_LINES: dict[str, Any] = {
    "half a question": {"question": "a\ud800b"},
    "half a system prompt": {
        "messages": [{"role": "system", "content": "\udfff"}, {"role": "user", "content": "Hi"}]
    },
    "half a role": {"messages": [{"role": "us\ud800er", "content": "Hi"}]},
    "no JSON": '{"question": ',
    "no object": "[1, 2]",
    "a number": "5",
    "deep": DEEP,
    "wrong types deep inside": {
        "messages": [{"role": "user", "content": "Hi", "audios": [{"audio": {"a": 1}}]}]
    },
    "a clip of numbers": {"question": "Hi", "audios": [[1, 2]]},
    "a URL": {"question": "Hi", "audios": ["https://x.org/a.wav"]},
    "two URLs": {"question": "Hi", "audios": ["https://x.org/a.wav", "https://x.org/b.wav"]},
    "a zero in a path": {"question": "Hi", "audios": ["a\0.wav"]},
    "half a path": {"question": "Hi", "audios": ["a\ud800.wav"]},
    "too long": {"question": "word " * 20_000},
    "a list for a role": {"messages": [{"role": ["user"], "content": "Hi"}]},
    "messages in an object": {"messages": {"role": "user"}},
    "a huge number": {"question": "Hi", "max_new_tokens": 10**30},
    "stop in halves": {"question": "Hi", "stop": ["\ud800", 5]},
    "temperature of NaN": '{"question": "Hi", "temperature": NaN}',
}
FINE = {
    "a zero in a question": {"question": "a\0b", "id": {"not": ["hashable"]}},
    "an emoji": {"question": "😀", "id": 4.5},
    "a null id": {"question": "Hi", "id": None},
    "a half id": {"question": "Hi", "id": "\ud800"},
}


def test_an_odd_line_is_counted_and_all_others_are_answered(
    engine: Engine, tmp_path: Path, published_tiny: Path
) -> None:
    good = {"audios": [str(published_tiny / "a.wav")], "texts": ["a"], "question": "What?"}
    half = {"audios": [str(published_tiny / "a.wav")], "texts": ["a\ud800"], "question": "What?"}
    lines = [good, *(x for odd in (*ODD_LINES.values(), half) for x in (odd, good))]
    lines += FINE.values()
    source = write_requests(tmp_path / "in.jsonl", lines)
    target = tmp_path / "out.jsonl"

    tally = answer_file(engine, source, target, sampling=GREEDY, max_failed_share=1.0)
    told = answers(target)
    assert len(told) == len(lines)
    for place, line in enumerate(told):
        is_odd = place % 2 == 1 and place <= 2 * (len(ODD_LINES) + 1)
        assert ("error" in line) == is_odd, (place, line)
    assert tally.failures.total == len(ODD_LINES) + 1
    reasons = dict(
        zip([*ODD_LINES, "half a text"], [x.get("error", "") for x in told[1::2]], strict=False)
    )
    for name in ("half a question", "half a system prompt", "half a role", "half a text"):
        assert HALF in reasons[name], name
    assert "https://x.org/a.wav is a URL" in reasons["a URL"]
    assert "https://x.org/a.wav is a URL" in reasons["two URLs"]
    assert "not JSON" in reasons["no JSON"]
    first = target.read_bytes()
    for retry in (False, True):  # the same again
        again = answer_file(
            engine, source, target, sampling=GREEDY, max_failed_share=1.0, retry=retry
        )
        assert (again.answered, again.failures.total) == (tally.answered, tally.failures.total)
        assert target.read_bytes() == first


def test_a_question_that_is_too_long_is_told_to_be_shortened(engine: Engine) -> None:
    error = engine.run([ask("word " * 20_000)])[0].error
    assert error is not None
    assert "shorten the question" in error.fix
    error = engine.run([ask("Hi", sampling=Sampling(max_new_tokens=10**6))])[0].error
    assert error is not None
    assert error.fix == "lower max_new_tokens"


def test_one_bad_turn_does_not_end_a_conversation(engine: Engine, published_tiny: Path) -> None:
    talk = Conversation(engine, GREEDY)
    for bad in ("a\ud800", "word " * 20_000):
        with pytest.raises(DataError):
            list(talk.ask(bad))
    with pytest.raises(DataError, match="URLs are not fetched"):
        list(talk.ask("What?", ["https://x.org/a.wav"]))
    assert "".join(talk.ask("What?", [str(published_tiny / "a.wav")], ["a"]))
    assert [message.role for message in talk.messages][-2:] == ["user", "assistant"]
