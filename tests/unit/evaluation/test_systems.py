"""Who answers beside the model: what each is asked, and what an endpoint is sent."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile

from desta.errors import ConfigError, DataError, UnavailableError
from desta.evaluation.base import Benchmark
from desta.evaluation.baselines import always_first, majority, tell
from desta.evaluation.benchmarks.table import BENCHMARKS
from desta.evaluation.items import Item, ask
from desta.evaluation.models import TextModel, connect_audio_endpoint
from desta.evaluation.recipe import BenchmarkFiles, EvalRecipe
from desta.evaluation.systems import Models, check_names, make_systems
from desta.generators.config import OpenAIEngine
from desta.generators.scripted import ScriptedGenerator
from desta.model.backbone.sampling import Sampling
from desta.records import LOCATOR, AudioRef, Message
from support.recordings import tone
from support.server import Reply, Request, chat_completion, serving

GREEDY = Sampling(max_new_tokens=8)
SAKURA = BENCHMARKS["sakura"]


def item(number: int, clip: Path | str = "a.wav", **changes: Any) -> Item:
    values: dict[str, Any] = {
        "id": f"item/{number}",
        "messages": ask("Listen.", f"{LOCATOR}\n\nWhich?", [clip]),
        "question": "Which?",
        "target": "dog",
        "choices": ("cat", "dog"),
    }
    return Item(**(values | changes))


class Listener:
    """Repeats what it is asked; its recogniser always hears one sentence."""

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[str]:
        return [c[-1].content for c in conversations]

    def digest(self, conversation: Sequence[Message]) -> str:
        return repr(conversation)

    def transcribe(self, refs: Sequence[AudioRef]) -> list[str]:
        return [f"heard {ref.audio}" for ref in refs]


def make(names: Sequence[str], items: Sequence[Item], **options: Any) -> list[Any]:
    return make_systems(
        names, items, Models(model=Listener()), SAKURA, **({"transcribe": True} | options)
    )


def test_the_cascade_reads_what_the_recogniser_heard_and_gets_no_clip() -> None:
    two = item(0, messages=ask("", f"{LOCATOR}{LOCATOR} Which?", ["a.wav", "b.wav"]))
    (cascade,) = make(["cascade"], [two])

    (said,) = cascade.answer([two], GREEDY)

    a, b = (f"<start_audio>heard {name}.wav<end_audio>" for name in "ab")
    assert said.output == f"{a}{b} Which?"
    assert not any(message.audios for message in said.prompt)


@pytest.mark.parametrize(("transcribe", "told"), [(True, "heard a.wav"), (False, " ")])
def test_the_model_is_told_what_it_recognises_where_that_is_wanted(
    transcribe: bool, told: str
) -> None:
    (model,) = make(["model"], [item(0)], transcribe=transcribe)

    (said,) = model.answer([item(0)], GREEDY)

    assert [ref.text for ref in said.prompt[-1].audios] == [told]


def test_the_oracle_reads_the_description_and_knows_when_there_is_none() -> None:
    known = item(0)
    known = replace(known, described=tell(known, "(Animal: dog)"))
    (oracle,) = make(["oracle"], [known, item(1)])

    assert oracle.answer([known], GREEDY)[0].output.startswith("<start_audio>(Animal: dog)<end")
    with pytest.raises(DataError, match="knows nothing"):
        oracle.answer([item(1)], GREEDY)
    with pytest.raises(ConfigError, match="sakura has no descriptions of its clips"):
        make(["oracle"], [item(1)])


def test_words_that_look_like_a_locator_ask_for_no_clip() -> None:
    assert LOCATOR not in tell(item(0), f"say {LOCATOR}")[-1].content


def test_majority_is_a_place_or_a_class() -> None:
    items = [
        item(0, choices=("cat", "dog"), target="dog"),
        item(1, choices=("owl", "cow"), target="cow"),
        item(2, choices=("hen", "pig"), target="hen"),
        item(3, choices=("a", "b", "c"), target="a"),
        item(4, choices=(), target="anything"),
        item(5, choices=("owl", "cow"), target=""),  # kept back by the authors
    ]
    assert majority(items, closed_sets=False) == {
        "item/0": "dog",
        "item/1": "cow",
        "item/2": "pig",
        "item/3": "a",
        "item/5": "cow",
    }
    assert majority(items, closed_sets=True)["item/2"] == "hen"
    assert always_first(items)["item/1"] == "owl"
    assert "item/4" not in always_first(items)


def test_unknown_and_repeated_systems_are_errors() -> None:
    with pytest.raises(ConfigError, match="modle") as raised:
        check_names(["modle"])
    assert "model" in raised.value.fix
    with pytest.raises(ConfigError, match="named twice"):
        check_names(["model", "model"])
    with pytest.raises(ConfigError, match='"oracle" cannot name'):
        check_names(["model"], ["oracle"])
    with pytest.raises(ConfigError, match="no model for the system"):
        make_systems(["model"], [item(0)], Models(), SAKURA, transcribe=True)


def test_a_text_model_is_given_no_audio() -> None:
    model = TextModel(ScriptedGenerator(str, revision="echo"))
    assert model.answer([[Message(role="user", content="hello")]], GREEDY) == ["hello"]
    with pytest.raises(ConfigError, match="takes no audio"):
        model.answer([item(0).messages], GREEDY)
    with pytest.raises(ConfigError, match="does not transcribe"):
        model.transcribe([])


def test_an_answer_is_what_follows_the_reasoning_and_nothing_else_is_one() -> None:
    model = TextModel(ScriptedGenerator(str, revision="echo"))
    texts = ["<think>(a) cat?</think> (b) dog", "<think>(a) cat? or", "<think>(a)</think>"]
    whole, cut, none = model.answer([[Message(role="user", content=t)] for t in texts], GREEDY)
    assert whole == "(b) dog"
    assert isinstance(cut, DataError)
    assert cut.message == "scripted writes nothing but reasoning"
    assert isinstance(none, DataError)
    short = Sampling(max_new_tokens=2)
    (cut,) = model.answer([[Message(role="user", content=texts[1])]], short)
    assert isinstance(cut, DataError)
    assert cut.reason == "scripted writes nothing but reasoning, cut off after 2 tokens"
    assert "max_new_tokens" in cut.fix


class Ears:
    """Answers with the length of the clip it was sent; refuses clips below 0.1 s."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.down = False
        self.deaf = False
        self.url = ""

    def answer(self, request: Request) -> Reply:
        content = request.body["messages"][-1]["content"]
        if isinstance(content, str):
            return 200, {}, chat_completion("hello")
        if self.down:
            return 503, {}, {"error": {"message": "tired"}}
        if self.deaf:
            return 400, {}, {"error": {"message": "ears is not a multimodal model"}}
        self.sent.append(content)
        clip = next(part for part in content if part["type"] == "input_audio")["input_audio"]
        seconds = soundfile.info(io.BytesIO(base64.b64decode(clip["data"]))).duration
        if seconds < 0.1:
            return 400, {}, {"error": {"message": "too short to be heard"}}
        return 200, {}, chat_completion(f"{seconds:.1f} s")


@pytest.fixture
def endpoint() -> Iterator[Ears]:
    ears = Ears()
    with serving(ears.answer) as ears.url:
        yield ears


def hearing(endpoint: Ears, items: Sequence[Item], benchmark: Benchmark = SAKURA) -> Any:
    pytest.importorskip("httpx2")
    engine = OpenAIEngine(base_url=endpoint.url, model="ears", concurrency=2, max_retries=0)
    models = Models(endpoints={"ears": connect_audio_endpoint(engine)})
    return make_systems(["ears"], items, models, benchmark, transcribe=True)[0]


def test_an_endpoint_is_sent_clips_as_wav_beside_the_words(endpoint: Ears, tmp_path: Path) -> None:
    items = [item(n, tone(tmp_path / f"{n}.wav", 0.5 + n)) for n in range(3)]
    system = hearing(endpoint, items)
    (first,) = endpoint.sent
    assert first[0]["type"] == "input_audio"  # a second of silence: does it hear at all?
    endpoint.sent.clear()

    answers = system.answer(items, GREEDY)

    assert [said.output for said in answers] == ["0.5 s", "1.5 s", "2.5 s"]
    kinds = {tuple(part["type"] for part in content) for content in endpoint.sent}
    assert kinds == {("input_audio", "text")}
    assert endpoint.sent[0][1]["text"] == "Which?"
    assert endpoint.sent[0][0]["input_audio"]["format"] == "wav"
    system.check(items)


def test_a_refused_clip_is_its_own_fault_and_a_tired_endpoint_everybodys(
    endpoint: Ears, tmp_path: Path
) -> None:
    short = item(0, tone(tmp_path / "short.wav", 0.05))
    items = [short, *(item(n, tone(tmp_path / f"{n}.wav", 0.5 + n)) for n in (1, 2))]
    system = hearing(endpoint, items)
    endpoint.sent.clear()

    refused, *said = system.answer(items, GREEDY)

    assert isinstance(refused, DataError)
    assert not isinstance(refused, UnavailableError)
    assert "too short to be heard" in str(refused)
    assert [each.output for each in said] == ["1.5 s", "2.5 s"]
    asked = [content for content in endpoint.sent if content[-1]["text"] == "Which?"]
    assert len(asked) == 3, "the others of its batch are not asked again"
    endpoint.down = True
    with pytest.raises(UnavailableError, match="tired"):
        system.answer([short], GREEDY)


def test_an_endpoint_that_cannot_hear_is_not_asked_item_by_item(endpoint: Ears) -> None:
    endpoint.deaf = True
    with pytest.raises(ConfigError, match="ears is not a multimodal model") as raised:
        hearing(endpoint, [item(0)])
    assert raised.value.fix == "name a model that hears, or change what it names in the recipe"
    assert endpoint.sent == []


def test_a_recipe_with_wrong_values_is_told_what_to_mend() -> None:
    with pytest.raises(ConfigError, match="limit = 0"):
        EvalRecipe(data=None, limit=0)
    with pytest.raises(ConfigError, match='endpoint "ears" does not say which model'):
        EvalRecipe(data=None, endpoints={"ears": OpenAIEngine(base_url="http://x/v1")})
    with pytest.raises(DataError, match="nowhere is not there"):
        BenchmarkFiles(path="nowhere").place()
    with pytest.raises(ConfigError, match="Anmal") as raised:
        BenchmarkFiles(path="x", subsets=("Anmal",)).chosen(("Animal", "Gender"))
    assert "Animal" in raised.value.fix
