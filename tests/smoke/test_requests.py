"""Requests with settings of their own, turns that cost their own tokens only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from desta.errors import ConfigError, DataError
from desta.inference.batch_file import parse_request
from desta.inference.conversation import Conversation, user_message
from desta.inference.desta25 import DeSTA25AudioModel
from desta.inference.engine import Engine, Limits
from desta.inference.requests import Request
from desta.model.backbone import decoding
from desta.model.backbone.sampling import Sampling
from desta.model.checkpoint import Loaded
from desta.records import LOCATOR, AudioRef, Message
from support.asking import GREEDY, ask, noise

NO_CACHES = Limits(audio_cache_bytes=0, prefix_cache_bytes=0)


@pytest.fixture
def plain(tiny: Loaded) -> Engine:
    """Without caches: what every answer must equal."""
    return Engine(tiny, limits=NO_CACHES)


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

    (prepared,) = engine.prepare([request])
    logits = decoding.prefill(engine.model.llm_model, [prepared.embeddings_SE]).logits_BV[0]
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
        (ask("What is it?", None), "a clip is not a recording"),
        (ask("What is it?", 5), "a clip is not a recording"),
        (ask("What is it?", (torch.zeros(16_000), 16_000)), "a clip is not a recording"),
        (ask("What is it?", (np.zeros(16_000), "16k")), "a clip is not a recording"),
        (ask("What is it?", (np.zeros(16_000),)), "a clip is not a recording"),
        (ask("What is it?", np.zeros(16_000), np.zeros(16_000)), "a clip is not a recording"),
        (ask("What is it?", (np.zeros(16_000), 0)), "impossible sample rate"),
    ],
)
def test_what_is_no_conversation_about_clips_does_not_spoil_the_batch(
    engine: Engine, request_: Request, message: str
) -> None:
    bad, good = engine.run([request_, ask("Hello?")])
    assert message in str(bad.error)
    assert good.unwrap()[0].ids


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Hello?"}],
        [Message(role="user", content=5)],  # type: ignore[arg-type]
        [Message(role="user", content=LOCATOR, audios=["a.wav"])],  # type: ignore[arg-type]
        "Hello?",
        None,
    ],
)
def test_messages_that_are_none_are_refused_before_anything_is_asked(messages: Any) -> None:
    with pytest.raises(ConfigError, match=r"not a list of desta\.records\.Message") as caught:
        Request(messages=messages)
    assert "Message.from_json" in caught.value.fix


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"dtype": "float8"}, "dtype 'float8' is unknown"),
        ({"quantization": "int4"}, "quantization 'int4' is unknown"),
    ],
)
def test_unknown_number_formats_are_refused(
    published_tiny: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        DeSTA25AudioModel.from_pretrained(published_tiny, **options)
    assert "int8" in caught.value.fix or "float" in caught.value.fix


def test_an_answer_about_bytes_can_be_printed(engine: Engine, published_tiny: Path) -> None:
    sound = (published_tiny / "a.wav").read_bytes()
    (reply,) = engine.run([ask("What?", sound)])
    assert reply.unwrap()[0].audios[0].audio == sound
    assert len(repr(reply)) < 1000


def test_a_temperature_near_nothing_is_greedy(engine: Engine) -> None:
    cold = Sampling(temperature=1e-45, max_new_tokens=10)
    greedy, drawn = engine.run([ask("Hello?"), ask("Hello?", sampling=cold, seed=1)])
    assert drawn.unwrap()[0].ids == greedy.unwrap()[0].ids


@pytest.mark.parametrize(
    "wrong",
    [
        *({"audios": "a.wav"}, {"audios": {"a": 1}}, {"audios": 5}),
        *({"audios": ["a.wav"], "texts": "a"}, {"audios": ["a.wav"], "texts": {"a": 1}}),
    ],
)
def test_a_word_is_not_a_list_of_letters(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"the (clips|transcriptions) are no list"):
        user_message("What?", **{"audios": (), "texts": (), **wrong}, locator=LOCATOR)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"messages": None}, "the messages must be a list of objects"),
        ({"messages": [None]}, "the messages must be a list of objects"),
        ({"messages": [{"role": "user", "content": "x", "audios": [None]}]}, "audios of a message"),
        ({"messages": [{"content": "x"}]}, '"role" is missing'),
        ({"messages": [{"role": "user", "content": "x", "audios": [{}]}]}, '"audio" is missing'),
        ({"question": 5}, "the question must be text"),
        ({"question": "x", "audios": ["a.wav"], "texts": [1]}, "the texts of clips must be text"),
        ({"question": "x", "audios": [["a.wav"]]}, "a clip must be the path of a file"),
    ],
)
def test_what_is_of_another_type_is_told_in_words(record: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        parse_request(record, locator=LOCATOR, sampling=Sampling())
    assert "Error" not in caught.value.message


def test_advice_is_to_shorten_a_transcription_that_takes_the_room(engine: Engine) -> None:
    clip = (np.zeros(16_000, np.float32), 16_000)
    turn = user_message("What?", [clip], locator=LOCATOR, texts=["w " * 20_000])
    (reply,) = engine.run([Request(messages=[turn])])
    assert reply.error is not None
    assert reply.error.fix.startswith("shorten the transcriptions")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_limit_that_leaves_nothing_to_hear_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match="allows no clip"):
        Limits(max_seconds=seconds)


def test_more_transcriptions_than_clips_are_refused(engine: Engine) -> None:
    with pytest.raises(DataError, match="2 transcriptions for 1 clips"):
        user_message("What?", ["a.wav"], locator=LOCATOR, texts=["a", "b"])


@pytest.mark.parametrize(
    "messages", ["Hello?", {"role": "user", "content": "Hello?"}, ["Hello?"], [[]], None, 5, [5]]
)
def test_the_published_call_says_what_it_wants(engine: Engine, messages: Any) -> None:
    with pytest.raises(DataError, match="messages|chat format"):
        DeSTA25AudioModel(engine).generate(messages, do_sample=False)


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

    monkeypatch.setattr(engine.audio_encoder, "encode", refuse)
    assert engine.run([ask("Hello?")])[0].error is None


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


def test_moving_a_model_forgets_what_lay_on_the_old_device(
    engine: Engine, published_tiny: Path, encoded: list[int]
) -> None:
    request = ask("What is it?", published_tiny / "a.wav")
    before = engine.run([request])[0].unwrap()[0].ids
    engine.to("cpu")
    assert engine.run([request])[0].unwrap()[0].ids == before
    assert encoded == [1, 1]
