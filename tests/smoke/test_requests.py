"""Requests with settings of their own, clips heard once, turns that cost their own tokens only."""

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from desta import audio
from desta.errors import ConfigError, DataError
from desta.inference import hearing
from desta.inference.conversation import Conversation, user_message
from desta.inference.engine import Engine, Limits
from desta.inference.published import DeSTA25AudioModel
from desta.inference.requests import Request
from desta.llm import decoding
from desta.llm.base import Sampling
from desta.model import checkpoint
from desta.model.checkpoint import Loaded
from desta.records import LOCATOR, AudioRef, Message

GREEDY = Sampling(max_new_tokens=10)
NO_CACHES = Limits(audio_cache_bytes=0, prefix_cache_bytes=0)


@pytest.fixture
def engine(tiny: Loaded) -> Engine:
    return Engine(tiny)


@pytest.fixture
def plain(tiny: Loaded) -> Engine:
    """Without caches: what every answer must equal."""
    return Engine(tiny, limits=NO_CACHES)


@pytest.fixture
def encoded(tiny: Loaded, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of windows of each pass through the encoder."""
    sizes: list[int] = []
    encode = tiny.model.encode

    def count(mel: Any) -> Any:
        result = encode(mel)
        sizes.append(result.last_BTD.shape[0])
        return result

    monkeypatch.setattr(tiny.model, "encode", count)
    return sizes


@pytest.fixture
def read_tokens(tiny: Loaded) -> Iterator[list[int]]:
    """Positions of each pass through the backbone."""
    lengths: list[int] = []

    def count(module: Any, args: Any, kwargs: Any) -> None:
        given = kwargs.get("inputs_embeds")
        lengths.append((kwargs["input_ids"] if given is None else given).shape[1])

    hook = tiny.model.llm_model.register_forward_pre_hook(count, with_kwargs=True)
    yield lengths
    hook.remove()


def ask(text: str, *clips: Any, said: str | None = "words", **options: Any) -> Request:
    turn = user_message(text, clips, locator=LOCATOR, texts=[said] * len(clips))
    return Request(messages=[turn], **{"sampling": GREEDY} | options)


def test_every_request_has_settings_of_its_own(engine: Engine, published_tiny: Path) -> None:
    clip = published_tiny / "a.wav"
    drawn = {"sampling": Sampling(temperature=1.0, top_p=0.9, max_new_tokens=8), "seed": 7}
    requests = [
        ask("What is it?", clip),
        ask("What is it?", clip, sampling=Sampling(max_new_tokens=3)),
        ask("What is it?", clip, **drawn),
        ask("Hello?", **drawn),
        ask("Hello?", **drawn | {"seed": 8}),
    ]
    together = [reply.unwrap()[0] for reply in engine.run(requests)]

    assert [a.ids for a in together] == [engine.run([r])[0].unwrap()[0].ids for r in requests]
    assert together[1].ids == together[0].ids[:3]
    assert together[1].finish == "length"
    assert together[3].ids != together[4].ids


def test_several_answers_are_drawn_apart_and_the_first_is_that_of_the_seed(
    engine: Engine, published_tiny: Path
) -> None:
    options = {"sampling": Sampling(temperature=1.0, max_new_tokens=8), "seed": 1}
    many = ask("What is it?", published_tiny / "a.wav", num_answers=3, **options)
    answers = engine.run([many, ask("Hello?")])[0].unwrap()

    assert len({tuple(a.ids) for a in answers}) == 3
    alone = [
        engine.run([ask("What is it?", published_tiny / "a.wav", **options | {"seed": seed})])
        for seed in (1, 2, 3)
    ]
    assert [a.ids for a in answers] == [reply[0].unwrap()[0].ids for reply in alone]


def test_a_stop_string_ends_an_answer_and_is_not_shown(
    engine: Engine, published_tiny: Path
) -> None:
    full = engine.run([ask("What is it?", published_tiny / "a.wav")])[0].unwrap()[0]
    stop = full.text[3:6]
    sampling = Sampling(max_new_tokens=10, stop=(stop, "never said"))
    request = ask("What is it?", published_tiny / "a.wav", sampling=sampling)

    answer = engine.run([request])[0].unwrap()[0]
    pieces = list(engine.stream(request).pieces)

    assert answer.text == full.text[: full.text.index(stop)].strip()
    assert answer.finish == "stop"
    assert len(answer.ids) < len(full.ids)
    assert "".join(pieces).strip() == answer.text


def test_logprobs_are_those_of_the_model(engine: Engine, published_tiny: Path) -> None:
    request = ask("What is it?", published_tiny / "a.wav", num_logprobs=3)
    answer = engine.run([request])[0].unwrap()[0]

    (prepared,) = engine._prepare([request])
    logits = decoding.read(engine.model.llm_model, [prepared.embeddings_SE]).logits_BV[0]
    expected = logits.log_softmax(dim=-1)
    value, alternatives = answer.logprobs[0]
    assert len(answer.logprobs) == len(answer.ids)
    assert value == pytest.approx(expected.max().item(), abs=1e-5)
    assert [token for token, _ in alternatives] == expected.topk(3).indices.tolist()
    assert alternatives[0] == (answer.ids[0], pytest.approx(value))


def test_one_bad_request_does_not_spoil_the_batch(
    engine: Engine, published_tiny: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.flac"
    soundfile.write(broken, np.random.default_rng(0).standard_normal(32_000) * 0.1, 16_000)
    broken.write_bytes(broken.read_bytes()[:9_000])
    two_locators = [
        Message(role="user", content=f"{LOCATOR}{LOCATOR}", audios=(AudioRef(audio="x.wav"),))
    ]
    replies = engine.run(
        [
            ask("What is it?", published_tiny / "a.wav"),
            ask("What is it?", broken),
            Request(messages=two_locators, sampling=GREEDY),
            ask("word " * 3000),
            ask("What is it?", published_tiny / "b.wav"),
        ]
    )
    assert [reply.error is None for reply in replies] == [True, False, False, False, True]
    assert "broken.flac" in str(replies[1].error)
    assert "2 <|AUDIO|> but 1 audio clips" in str(replies[2].error)
    assert "but the backbone reads 2048" in str(replies[3].error)
    with pytest.raises(DataError, match=r"broken\.flac"):
        replies[1].unwrap()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(messages=[]), "no messages"),
        (ask("What is it?", None), "a clip is no recording"),
        (ask("What is it?", 5), "a clip is no recording"),
        (ask("What is it?", (torch.zeros(16_000), 16_000)), "a clip is no recording"),
        (ask("What is it?", (np.zeros(16_000), "16k")), "a clip is no recording"),
        (ask("What is it?", (np.zeros(16_000),)), "a clip is no recording"),
        (ask("What is it?", np.zeros(16_000), np.zeros(16_000)), "a clip is no recording"),
        (ask("What is it?", (np.zeros(16_000), 0)), "impossible sample rate"),
    ],
)
def test_what_is_no_conversation_about_clips_does_not_spoil_the_batch(
    engine: Engine, request_: Request, message: str
) -> None:
    bad, good = engine.run([request_, ask("Hello?")])
    assert message in str(bad.error)
    assert good.unwrap()[0].ids


def test_a_temperature_near_nothing_is_greedy(engine: Engine) -> None:
    cold = Sampling(temperature=1e-45, max_new_tokens=10)
    greedy, drawn = engine.run([ask("Hello?"), ask("Hello?", sampling=cold, seed=1)])
    assert drawn.unwrap()[0].ids == greedy.unwrap()[0].ids


def test_more_transcriptions_than_clips_are_refused(engine: Engine) -> None:
    with pytest.raises(DataError, match="2 transcriptions for 1 clips"):
        user_message("What?", ["a.wav"], locator=LOCATOR, texts=["a", "b"])


@pytest.mark.parametrize(
    "messages", ["Hello?", {"role": "user", "content": "Hello?"}, ["Hello?"], [[]], None]
)
def test_the_published_call_says_what_it_wants(engine: Engine, messages: Any) -> None:
    with pytest.raises(DataError, match="messages|chat format"):
        DeSTA25AudioModel(engine).generate(messages, do_sample=False)


def test_a_clip_is_encoded_once_whatever_its_name_and_form(
    engine: Engine, published_tiny: Path, tmp_path: Path, encoded: list[int]
) -> None:
    path = published_tiny / "a.wav"
    copy = tmp_path / "copy.wav"
    copy.write_bytes(path.read_bytes())
    replies = engine.run([ask("What?", path), ask("Why?", copy), ask("Who?", path.read_bytes())])
    again = engine.run([ask("What?", path)])

    assert encoded == [1]
    assert replies[0].unwrap()[0].ids == again[0].unwrap()[0].ids


def test_a_clip_that_several_threads_want_is_encoded_by_one(
    engine: Engine, published_tiny: Path, encoded: list[int]
) -> None:
    answers: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(engine.run([ask("What?", published_tiny / "c.wav")]))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({tuple(a[0].unwrap()[0].ids) for a in answers}) == 1
    assert encoded == [1]


def test_the_memory_for_clips_is_bounded(
    tiny: Loaded, published_tiny: Path, encoded: list[int]
) -> None:
    (heard,) = Engine(tiny).hearing.hear([AudioRef(audio=published_tiny / "a.wav", text="")])
    engine = Engine(tiny, limits=Limits(audio_cache_bytes=heard.num_bytes))
    for name in "aabbaa":
        engine.run([ask("What?", published_tiny / f"{name}.wav")])

    assert encoded == [1, 1, 1, 1]


def test_a_later_turn_reads_its_own_tokens_only(
    engine: Engine, plain: Engine, published_tiny: Path, read_tokens: list[int]
) -> None:
    turns = [("What is it?", [published_tiny / "a.wav"]), ("Sure?", []), ("And now?", [])]
    conversation = Conversation(engine, GREEDY)
    reference = Conversation(plain, GREEDY)
    costs, full = [], []
    for text, clips in turns:
        for talk, lengths in ((conversation, costs), (reference, full)):
            read_tokens.clear()
            list(talk.ask(text, clips, ["words"] * len(clips)))
            lengths.append(read_tokens[0])

    assert conversation.messages == reference.messages
    assert costs[0] == full[0]
    for cost, whole, before in zip(costs[1:], full[1:], full, strict=False):
        assert cost <= whole - before, "the earlier turns were read again"


def test_a_second_question_about_a_clip_reads_the_clip_no_more(
    engine: Engine, plain: Engine, published_tiny: Path, read_tokens: list[int]
) -> None:
    clip = published_tiny / "a.wav"
    engine.run([ask("What is it?", clip)])
    read_tokens.clear()
    (second,) = engine.run([ask("Who speaks?", clip)])

    assert read_tokens[0] < engine.layout.num_query_tokens
    assert second.unwrap()[0].ids == plain.run([ask("Who speaks?", clip)])[0].unwrap()[0].ids


def test_words_alike_after_another_clip_are_not_taken_for_known(
    engine: Engine, plain: Engine, published_tiny: Path
) -> None:
    engine.run([ask("What is it?", published_tiny / "a.wav")])
    request = ask("What is it?", published_tiny / "b.wav")

    assert engine.run([request])[0].unwrap()[0].ids == plain.run([request])[0].unwrap()[0].ids


def test_text_alone_never_reaches_the_audio_path(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("the audio path was entered")

    monkeypatch.setattr(engine.hearing, "hear", refuse)
    assert engine.run([ask("Hello?")])[0].error is None


def test_a_clip_that_is_too_long_is_refused(tiny: Loaded, published_tiny: Path) -> None:
    engine = Engine(tiny, limits=Limits(max_seconds=2.0))
    (reply,) = engine.run([ask("What?", published_tiny / "a.wav")])
    assert "lasts longer than the 2 s" in str(reply.error)
    engine = Engine(tiny, limits=Limits(max_seconds=8.0))
    both = [published_tiny / "a.wav", published_tiny / "b.wav"]  # 3.0 s and 7.5 s
    replies = engine.run([ask("What?", both[0]), ask("What?", both[1]), ask("What?", *both)])
    assert [reply.error is None for reply in replies] == [True, True, False]
    assert "last 10 s together" in str(replies[2].error)


def test_a_stream_of_several_answers_is_refused(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="a stream is one answer"):
        engine.stream(ask("Hello?", num_answers=2))


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(ConfigError, match="stop string is empty"):
        Sampling(stop=("",))


@pytest.mark.parametrize("options", [{"stop": "END"}, {"stop": (1,)}, {"max_new_tokens": 1.5}])
def test_settings_of_a_wrong_kind_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not a list of texts|no whole number"):
        Sampling(**options)


REQUESTS = st.lists(
    st.tuples(
        st.text("ab cd?é", min_size=0, max_size=40),
        st.lists(st.integers(300, 40_000), max_size=3),  # samples of each clip
        st.integers(1, 6),
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def tight(published_tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The same weights behind windows of true length."""
    directory = tmp_path_factory.mktemp("tight") / "model"
    shutil.copytree(published_tiny, directory)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"encoder_window": "tight"}))
    return checkpoint.load(directory, dtype="float32")


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(mixture=REQUESTS, window=st.sampled_from(["30s", "tight"]))
def test_a_mixture_is_answered_as_each_request_alone(
    mixture: list[tuple[str, list[int], int]], window: str, tiny: Loaded, tight: Loaded
) -> None:
    loaded = tight if window == "tight" else tiny
    requests = [
        ask(
            text,
            *((noise(length), 16_000) for length in lengths),
            sampling=Sampling(max_new_tokens=num_tokens),
            num_logprobs=10,
        )
        for text, lengths, num_tokens in mixture
    ]
    together = Engine(loaded).run(requests)
    plain = Engine(loaded, limits=NO_CACHES)

    for request, reply in zip(requests, together, strict=True):
        (answer,), (alone,) = reply.unwrap(), plain.run([request])[0].unwrap()
        assert answer.ids == alone.ids
        for ours, theirs in zip(answer.logprobs, alone.logprobs, strict=True):
            best, expected = (torch.tensor([v for _, v in found[1]]) for found in (ours, theirs))
            torch.testing.assert_close(best, expected, rtol=0, atol=1e-4)


def test_every_clip_gets_its_own_words_whatever_is_heard_with_it(
    tight: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting:
        """Writes how long a window is."""

        window = "30s"
        encoder = None

        def transcribe(self, windows: Any, *, language: str | None = None) -> list[str]:
            return [f"{len(window)} samples" for window in windows]

    monkeypatch.setattr(hearing, "spoken_windows", lambda audio, bounds: [0] * (len(audio) != 999))
    engine = Engine(tight)
    engine._transcriber = Counting()  # type: ignore[assignment]
    lengths = [5_000, 90_000, 999, 16_000, 40_000, 7_000]
    refs = [
        AudioRef(audio=(noise(length), 16_000), text="given" if length == 7_000 else None)
        for length in lengths
    ]
    heard = engine.hearing.hear(refs)

    texts = [clip.text for clip in heard if isinstance(clip, hearing.Heard)]
    assert texts == ["5000 samples", "90000 samples", " ", "16000 samples", "40000 samples", None]
    known = AudioRef(audio=refs[0].audio, text="given")
    assert engine.hearing.hear([known, refs[0]])[1].text == "5000 samples"  # type: ignore[union-attr]


def test_a_clip_that_nobody_can_transcribe_fails_alone(
    tiny: Loaded, published_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "spoken_windows", lambda audio, bounds: [0])
    engine = Engine(replace(tiny, transcriber_directory=None))
    replies = engine.run(
        [
            ask("Hello?"),
            ask("What?", published_tiny / "a.wav"),
            ask("What?", published_tiny / "b.wav", said=None),
        ]
    )
    assert [reply.error is None for reply in replies] == [True, True, False]
    assert "name a Whisper model" in str(replies[2].error)


def test_moving_a_model_forgets_what_lay_on_the_old_device(
    engine: Engine, published_tiny: Path, encoded: list[int]
) -> None:
    request = ask("What is it?", published_tiny / "a.wav")
    before = engine.run([request])[0].unwrap()[0].ids
    engine.to("cpu")
    assert engine.run([request])[0].unwrap()[0].ids == before
    assert encoded == [1, 1]


def noise(num_samples: int) -> Any:
    samples = np.random.default_rng(num_samples).standard_normal(num_samples)
    return (0.1 * samples).astype(np.float32)


def test_threads_that_decode_clips_take_no_core_from_the_model(
    tiny: Loaded, published_tiny: Path
) -> None:
    cores = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        engine = Engine(tiny)
        (heard,) = engine.hearing.hear([AudioRef(audio=str(published_tiny / "a.wav"), text="")])
        assert isinstance(heard, hearing.Heard)
        with ThreadPoolExecutor() as later:
            assert later.submit(torch.get_num_threads).result() == 2
        assert torch.get_num_threads() == 2
        assert engine.hearing._pool.submit(torch.get_num_threads).result() == 1
    finally:
        torch.set_num_threads(cores)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_connector_computes_as_it_was_trained(
    published_tiny: Path, dtype: Literal["float32", "bfloat16"]
) -> None:
    loaded = checkpoint.load(published_tiny, dtype=dtype)
    model, clip = loaded.model, str(published_tiny / "a.wav")
    (heard,) = Engine(loaded).hearing.hear([AudioRef(audio=clip, text="")])
    assert isinstance(heard, hearing.Heard)

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        trained = model.audio_tokens(model.encode(model.mel([audio.load(clip)])))

    assert heard.audio_WQE.dtype == torch.float32
    assert torch.equal(heard.audio_WQE, trained.float())


def test_a_silent_clip_is_told_once_and_a_quiet_one_is_not(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refs = []
    for name, peak in (("nothing", 0.0), ("dither", 9e-5), ("quiet", 1.1e-4)):
        samples = np.zeros(8000, np.float32)
        samples[100] = -peak  # the loudest sample counts, whatever its sign
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000, subtype="FLOAT")
        refs.append(AudioRef(audio=str(tmp_path / f"{name}.wav"), text="x"))
    refs.append(AudioRef(audio=(np.zeros(8000), 16_000), text="x"))
    for _ in range(2):
        engine.hearing.hear(refs)
    told = [r.getMessage().partition(" is silent")[0] for r in caplog.records]
    assert sorted(told) == sorted(
        [str(tmp_path / "nothing.wav"), str(tmp_path / "dither.wav"), "the array"]
    )
