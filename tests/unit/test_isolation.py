"""What one item does, whatever it is, is counted with its reason; all others are worked on."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desta import audio
from desta.attributes import raw
from desta.attributes.raw import NO_VALUE, measure_clip
from desta.construction import filters
from desta.construction.pipeline import construct
from desta.errors import ConfigError, DataError, NoNumberError, UnavailableError
from desta.evaluation.models import TextModel
from desta.generators.base import Completion, OnOutcome, Outcome, Refusal, as_text
from desta.generators.batch import complete_batch
from desta.generators.scripted import ScriptedGenerator
from desta.isolation import HALF, NO_NUMBER, error_of, half_of, holds_half, in_halves, printable
from desta.model.backbone.sampling import Sampling
from desta.records import AudioRef, Clip, Message, Segment
from desta.sources import describe as describing
from desta.sources.custom import custom_source
from desta.sources.describe import describe, write_description
from support.construction import clip, corpus, read_pairs, recipe, speak
from support.recordings import record, tone

ERRORS = [
    MemoryError("Unable to allocate 3 GiB"),
    RuntimeError("boom \ud800"),
    KeyError("x"),
    RecursionError(),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    AssertionError(),
    NoNumberError("the model computes NaN", fix=""),
    DataError("refused", fix=""),
]


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_items_that_fail_alone_are_lost_and_no_others(bad: list[bool]) -> None:
    sizes = []

    def work(places: Sequence[int]) -> list[int]:
        sizes.append(len(places))
        if any(bad[place] for place in places):
            raise ValueError
        return [place * 2 for place in places]

    found = in_halves(work, range(len(bad)), alone=lambda place, error: -place - 1)
    assert found == [-n - 1 if bad[n] else n * 2 for n in range(len(bad))]
    if not any(bad):
        assert sizes == [len(bad)]


def test_what_is_never_of_one_item_ends_the_work() -> None:
    def work(items: Sequence[int]) -> list[int]:
        raise UnavailableError("gone", fix="")

    with pytest.raises(UnavailableError):
        in_halves(work, [1, 2], alone=lambda item, error: 0, fatal=(UnavailableError,))


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_can_be_printed_and_counted(error: Exception) -> None:
    told = error_of(error, "a.wav")
    assert not holds_half(f"{told} {told.reason}")
    assert "a.wav" not in told.reason
    assert told.fix or isinstance(error, DataError)
    if isinstance(error, NoNumberError):
        assert told.reason == NO_NUMBER


@given(st.text(st.characters(exclude_categories=())))
def test_a_text_that_holds_half_a_character_can_be_printed(text: str) -> None:
    assert holds_half(text) == any(0xD800 <= ord(c) <= 0xDFFF for c in text)
    assert not holds_half(printable(text))
    if not holds_half(text):
        assert printable(text) == text


class Choking:
    """A generator that raises an error wherever one conversation is in the batch."""

    id, revision = "scripted", "1"
    order: Literal["length", "prefix"] = "length"

    def __init__(self, word: str, error: Exception) -> None:
        self.word, self.error = word, error
        self.count_tokens = ScriptedGenerator(speak).count_tokens
        self.sizes: list[int] = []

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        self.sizes.append(len(conversations))
        if any(self.word in as_text(m) for talk in conversations for m in talk):
            raise self.error
        return ScriptedGenerator(speak).complete(conversations, sampling, seeds=seeds)


def talk(*texts: str) -> dict[int, list[Message]]:
    return {n: [Message(role="user", content=text)] for n, text in enumerate(texts)}


def put(generator: Any, *texts: str) -> dict[int, Outcome]:
    kept: dict[int, Outcome] = {}
    seeds = list(range(len(texts)))
    found = complete_batch(generator, Sampling(), talk(*texts), seeds=seeds, keep=kept.update)
    assert kept == found
    return found


@pytest.mark.parametrize("error", ERRORS)
def test_a_request_that_ends_its_batch_is_refused_and_the_others_are_answered(
    error: Exception,
) -> None:
    found = put(Choking("bad", error), "a", "b", "bad one", "c", "d")
    assert [isinstance(found[n], Completion) for n in range(5)] == [True, True, False, True, True]
    refusal = found[2]
    assert isinstance(refusal, Refusal)
    assert refusal.reason == error_of(error, "the request").reason
    assert not holds_half(refusal.message)


@pytest.mark.parametrize("error", [RuntimeError("no device"), NoNumberError("NaN", fix="")])
def test_a_generator_that_fails_whatever_it_is_asked_is_told_as_such(error: Exception) -> None:
    with pytest.raises(type(error)):
        put(Choking("", error), "a", "b")


@pytest.mark.parametrize("error", [ConfigError("key", fix=""), UnavailableError("gone", fix="")])
def test_a_service_that_refuses_is_not_asked_in_halves(error: Exception) -> None:
    generator = Choking("bad", error)
    with pytest.raises(type(error)):
        put(generator, "a", "bad", "b")
    assert generator.sizes == [3]


def test_half_a_character_is_never_sent_and_never_kept() -> None:
    asked: list[str] = []

    def script(content: str) -> str:
        asked.append(content)
        return "\ud83d" if content == "b" else "fine"

    found = put(ScriptedGenerator(script), "a", "\ud800", "b", "c\udfff")
    assert asked == ["a", "b"]
    assert [isinstance(found[n], Completion) for n in range(4)] == [True, False, False, False]
    assert found[1] == Refusal(
        reason=half_of("a message").reason, message=half_of("a message").message
    )
    assert HALF in found[2].reason


# -- construction ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["text", "speaker", "attribute"])
def test_a_clip_whose_words_hold_half_a_character_is_dropped_alone(
    tmp_path: Path, where: str
) -> None:
    changes: dict[str, Any] = {
        "text": {"segments": (Segment(start=0.0, end=1.0, text="a\ud800b"),)},
        "speaker": {"segments": (Segment(start=0.0, end=1.0, speaker="\ud800", text="hi"),)},
        "attribute": {"attributes": {"Language": "\ud800"}},
    }[where]
    clips = [clip(n, **(changes if n == 5 else {})) for n in range(12)]
    config = replace(recipe(tmp_path), clips=(corpus(tmp_path, clips),))
    manifest = construct(config, tmp_path / "out", ScriptedGenerator(speak))
    [(reason, dropped)] = manifest.dropped.items()
    assert HALF in reason
    assert dropped.count == 2
    assert dropped.example.startswith("c/5")
    assert manifest.num_kept == len(list(read_pairs(tmp_path / "out"))) == 22


@pytest.mark.parametrize("error", ERRORS)
def test_a_clip_at_which_the_backbone_fails_is_dropped_alone_and_asked_again_by_retry(
    tmp_path: Path, error: Exception
) -> None:
    clips = [
        clip(n, segments=(Segment(start=0.0, end=1.0, text="bad" if n == 5 else "w " * n),))
        for n in range(12)
    ]
    config = replace(recipe(tmp_path), clips=(corpus(tmp_path, clips),))
    for retry in (False, True):
        manifest = construct(config, tmp_path / "out", Choking("bad", error), retry=retry)
        assert [d.count for d in manifest.dropped.values()] == [2]
        assert manifest.num_kept == 22
    assert construct(config, tmp_path / "out", ScriptedGenerator(speak), retry=True).num_kept == 24


def test_a_filter_that_fails_at_one_response_drops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(candidate: Any) -> bool:
        if "5" in candidate.clip.id:
            raise RecursionError
        return False

    monkeypatch.setitem(filters.FILTERS, "empty", filters.Filter("empty", failing))
    manifest = construct(
        replace(recipe(tmp_path), filters=("empty",)), tmp_path / "out", ScriptedGenerator(speak)
    )
    [(reason, dropped)] = manifest.dropped.items()
    assert "RecursionError" in reason
    assert (dropped.count, manifest.num_kept) == (2, 22)


@pytest.mark.parametrize(
    "line", ['{"id": ', "[1]", "[" * 20_000, '{"id": "\\ud800", "response": "x"}']
)
def test_a_row_that_is_none_is_left_out_where_responses_are_written_anew(
    tmp_path: Path, line: str
) -> None:
    config = recipe(tmp_path)
    construct(config, tmp_path / "old", ScriptedGenerator(speak))
    rows = [json.dumps(pair.to_json()) for pair in read_pairs(tmp_path / "old")]
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.jsonl").write_text("\n".join([*rows[:3], line, *rows[3:]]) + "\n")
    manifest = construct(
        replace(config, clips=(), regenerate=tmp_path / "rows"),
        tmp_path / "out",
        ScriptedGenerator(lambda content: f"Anew {len(content)}."),
    )
    assert (manifest.num_kept, manifest.num_dropped) == (24, 1)


# -- corpora ---------------------------------------------------------------------------------------


def describe_table(root: Path, rows: Sequence[dict[str, Any]]) -> describing.Description:
    (root / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    from desta.config import build_config
    from desta.sources.custom import CustomRecipe

    columns = {"text": "text", "speaker": "who", "start": "start"}
    found = build_config(
        CustomRecipe,
        {
            "name": "mine",
            "table": "rows.jsonl",
            "columns": columns,
            "attributes": {"Mood": "mood"},
        },
        where="r",
    )
    return describe(custom_source(found), root, max_broken_share=0.5)


@pytest.mark.parametrize(
    "bad",
    [
        {"text": "a\ud800b"},
        {"who": "\udfff"},
        {"mood": "\ud800"},
        {"audio": "a\ud800.wav"},
        {"audio": "a\0.wav"},
        {"audio": {"a": 1}},
        {"audio": ["a.wav"]},
        {"audio": None},
        {"start": "soon"},
        {"start": -1e400},
        {"audio": "https://x.org/a.wav"},
        {"audio": "x" * 5000},
    ],
)
def test_a_row_of_a_table_is_lost_alone(tmp_path: Path, bad: dict[str, Any]) -> None:
    for name in ("a", "b", "c"):
        record(tmp_path / f"{name}.wav", seed=ord(name))
    good = {"text": "hi", "who": "Ann", "mood": "calm", "start": 0}
    rows = [
        {"audio": "a.wav", **good},
        {"audio": "b.wav", **good, **bad},
        {"audio": "c.wav", **good},
    ]
    found = describe_table(tmp_path, rows)
    write_description(found, tmp_path / "out")
    assert [c.audio for c in found.clips] == ["a.wav", "c.wav"]
    assert found.skipped.total == 1


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_a_recording_raises_is_counted_in_a_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for name in ("a", "b", "c"):
        record(tmp_path / f"{name}.wav", seed=ord(name))
    plain = describing.measure_recording
    monkeypatch.setattr(describing, "measure_recording", failing_at("b.wav", error, plain))
    found = describe_table(
        tmp_path,
        [{"audio": f"{n}.wav", "text": "x", "who": "y", "mood": "z", "start": 0} for n in "abc"],
    )
    assert [c.audio for c in found.clips] == ["a.wav", "c.wav"]
    assert list(found.broken) == [error_of(error, "b").reason]


def failing_at(name: str, error: Exception, plain: Callable[..., Any]) -> Callable[..., Any]:
    def fail(path: Any, *args: Any) -> Any:
        if Path(path).name == name:
            raise error
        return plain(path, *args)

    return fail


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_a_recording_or_a_measure_raises_is_counted_when_it_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    tone(tmp_path / "a.wav", 1.0)
    spoken = Clip(id="c/1", source="c", audio="a.wav", duration=1.0, domain="speech")

    def fail(*args: Any) -> Any:
        raise error

    whole = measure_clip(tmp_path, spoken, ["loudness"])
    assert whole.broken is None
    monkeypatch.setitem(raw.MEASURES, "loudness", replace(raw.MEASURES["loudness"], of=fail))
    assert measure_clip(tmp_path, spoken, ["loudness"]).missing == {
        "loudness": error_of(error, "").reason
    }
    monkeypatch.setattr(raw, "load_clip", fail)
    assert measure_clip(tmp_path, spoken, ["loudness"]).broken == error_of(error, "").reason


def test_a_measure_that_is_no_number_is_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken = Clip(id="c/1", source="c", audio="a.wav", duration=1.0, domain="speech")
    loud = (1e30 * np.random.default_rng(0).standard_normal(audio.SAMPLE_RATE)).astype(np.float32)
    monkeypatch.setattr(raw, "load_clip", lambda root, clip: loud)
    found = measure_clip(tmp_path, spoken, list(raw.MEASURES))
    assert all(np.isfinite(value) for value in found.values.values())
    nothing = replace(raw.MEASURES["loudness"], of=lambda recording: float("nan"))
    monkeypatch.setitem(raw.MEASURES, "loudness", nothing)
    assert measure_clip(tmp_path, spoken, ["loudness"]).missing == {"loudness": NO_VALUE}


# -- evaluation ------------------------------------------------------------------------------------


def test_half_a_character_is_refused_alone_by_whoever_reads() -> None:
    reader = TextModel(ScriptedGenerator(speak))
    said = reader.answer([talks for talks in talk("a", "\ud800", "b").values()], Sampling())
    assert [isinstance(answer, str) for answer in said] == [True, False, True]


def test_an_audio_ref_of_half_a_character_is_no_text() -> None:
    messages = [
        Message(role="user", content="<|AUDIO|>", audios=(AudioRef(audio="a", text="\ud800"),))
    ]
    found = complete_batch(
        ScriptedGenerator(speak), Sampling(), {0: messages}, seeds=[0], keep=lambda _: None
    )
    assert isinstance(found[0], Refusal)
