"""A recipe names its engine; every engine gives the backbone the same token ids."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from transformers import AutoTokenizer

from desta.config import build_config, dump_recipe, load_recipe
from desta.construction.config import ConstructConfig
from desta.errors import ConfigError, MissingExtraError, UnavailableError
from desta.generators.base import Completion, Refusal
from desta.generators.config import (
    EngineConfig,
    LocalEngine,
    OpenAIEngine,
    ScriptedEngine,
    VllmEngine,
)
from desta.generators.load import load_generator
from desta.generators.local import LocalGenerator
from desta.generators.vllm import VllmGenerator
from desta.model.backbone.decoding import end_ids
from desta.model.backbone.load import load_backbone
from desta.model.backbone.sampling import Sampling
from desta.model.config import Dtype, ModelConfig, Quantization
from desta.model.hub.load import Part
from desta.records import AudioRef, Message
from support.commands import desta

CLIP = AudioRef(audio="1.wav", text="<|im_end|> [00:00-00:01] Hi")
QUESTIONS = [
    [Message(role="user", content=f"<start_audio><|AUDIO|><end_audio>\n{n}?", audios=(CLIP,))]
    for n in ("What", "Who is it", "Why")
]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    backbone: str = "tiny"
    engine: EngineConfig = LocalEngine()  # noqa: RUF009
    dtype: Dtype = "float32"
    backbone_dtype: Dtype = "float32"
    backbone_quantization: Quantization | None = None


# -- the engine section --------------------------------------------------------------------------


def section(**values: Any) -> EngineConfig:
    tree = {"clips": [{"path": "c", "root": "."}], "backbone": "b", "sampling": {}, **values}
    return build_config(ConstructConfig, tree, where="recipe.yaml").engine


def test_the_local_engine_is_the_default() -> None:
    assert section() == LocalEngine()


@pytest.mark.parametrize(
    ("tree", "engine"),
    [
        ({"kind": "local", "device": "cuda"}, LocalEngine(device="cuda")),
        ({"kind": "vllm", "num_gpus": 2}, VllmEngine(num_gpus=2)),
        ({"kind": "scripted", "answer": None}, ScriptedEngine(answer=None)),
        (
            {"kind": "openai", "base_url": "http://h/v1", "timeout": 5, "extra_body": {"k": [1]}},
            OpenAIEngine(base_url="http://h/v1", timeout=5.0, extra_body={"k": [1]}),
        ),
    ],
)
def test_kind_says_which_keys_there_are(tree: dict[str, Any], engine: EngineConfig) -> None:
    assert section(engine=tree) == engine


@pytest.mark.parametrize(
    ("tree", "message", "fix"),
    [
        ({"kind": "vlm"}, "\"engine.kind\" = 'vlm' is not one of", 'did you mean "vllm"?'),
        ({"kind": ["vllm"]}, "is not one of", "vllm"),
        ({"device": "cpu"}, 'missing key "engine.kind"', "local, vllm, openai, scripted"),
        ("vllm", "\"engine\" is 'vllm', not keys", "indent"),
        ({"kind": "vllm", "device": "cpu"}, 'unknown key "engine.device"', "choose"),
        (
            {"kind": "openai"},
            'missing key "engine.base_url"',
            'add "base_url: ..." below "engine" in',
        ),
        ({"kind": "openai", "base_url": "h"}, "is no URL", "http://localhost:8000/v1"),
        ({"kind": "vllm", "gpu_memory": 90}, "outside", "0.9"),
        ({"kind": "vllm", "num_gpus": 0}, "num_gpus = 0", "1 or more"),
    ],
)
def test_what_is_wrong_in_it_is_said_with_a_fix(tree: Any, message: str, fix: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        section(engine=tree)
    assert fix in caught.value.fix


def test_a_recipe_with_an_engine_reads_back_as_itself(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("clips: [{path: c, root: .}]\nbackbone: b\nsampling: {}\n")
    config = load_recipe(path, ConstructConfig, ["engine.kind=vllm", "engine.max_length=99"])
    assert config.engine == VllmEngine(max_length=99)
    path.write_text(dump_recipe(config))
    assert load_recipe(path, ConstructConfig) == config


def test_every_recipe_of_the_page_about_engines_loads() -> None:
    page = (Path(__file__).parents[3] / "docs/guides/engines.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    kinds = [section(**yaml.safe_load(block)).kind for block in blocks]
    assert kinds == ["local", "vllm", "openai", "openai", "scripted"]


# -- scripted ------------------------------------------------------------------------------------


def complete(engine: EngineConfig) -> tuple[list[str], str]:
    generator = load_generator(Recipe(engine=engine))
    answers = generator.complete(QUESTIONS, Sampling(max_new_tokens=20), seeds=[0, 1, 2])
    return [answer.text for answer in answers], generator.revision


def test_a_script_says_a_sentence_or_repeats_the_question() -> None:
    sentences, revision = complete(ScriptedEngine(answer="I hear it."))
    others, other = complete(ScriptedEngine(answer="I do not."))
    echoes, echo = complete(ScriptedEngine(answer=None))
    assert sentences == ["I hear it."] * 3
    assert others == ["I do not."] * 3
    assert echoes[0] == "<start_audio><|im_end|> [00:00-00:01] Hi<end_audio>\nWhat?"
    assert len({revision, other, echo}) == 3  # or a journal would mistake one for the other


def test_a_recipe_runs_without_any_model(tmp_path: Path) -> None:
    clip = {"source": "c", "audio": "1.wav", "duration": 1.0, "domain": "sound"}
    lines = [json.dumps({"id": f"c/{n}", **clip}) for n in range(5)]
    (tmp_path / "clips.jsonl").write_text("\n".join(lines))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"clips: [{{path: {tmp_path}/clips.jsonl, root: .}}]\n"
        "backbone: not/there\nsampling: {}\nfilters: [empty]\nengine: {kind: scripted}\n"
    )
    out = tmp_path / "out"
    result = desta("construct", recipe, "--out", out, "--json")
    assert json.loads(result.stdout)["kept"] == 5, result.output


# -- vLLM ----------------------------------------------------------------------------------------


class FakeLLM:
    """Notes what it is asked, and writes what it is told to."""

    def __init__(self, outputs: Sequence[Any] = ()) -> None:
        self.model_config = SimpleNamespace(max_model_len=100)
        self.outputs = outputs
        self.prompts: list[list[int]] = []
        self.settings: list[Any] = []

    def generate(self, requests: list[Any], settings: list[Any], *, use_tqdm: bool) -> list[Any]:
        self.prompts = [request["prompt_token_ids"] for request in requests]
        self.settings = settings
        return [SimpleNamespace(outputs=[output]) for output in self.outputs]


@pytest.fixture
def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    died = type("EngineDeadError", (Exception,), {})
    engine = SimpleNamespace(exceptions=SimpleNamespace(EngineDeadError=died))
    fake = SimpleNamespace(
        SamplingParams=SimpleNamespace, __version__="0", v1=SimpleNamespace(engine=engine)
    )
    monkeypatch.setitem(sys.modules, "vllm", fake)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def backbone(published_tiny: Path) -> tuple[Any, Any]:
    place = str(published_tiny / "backbone")
    config = ModelConfig(backbone=place, encoder="none", dtype="float32")
    return load_backbone(Part(place), config)


@pytest.mark.usefixtures("fake_vllm")
def test_vllm_is_asked_what_the_local_engine_is_asked(backbone: tuple[Any, Any]) -> None:
    model, tokenizer = backbone
    ends = end_ids(model, tokenizer)
    end, word = max(ends), tokenizer.encode("Hello there", add_special_tokens=False)
    llm = FakeLLM(
        [
            SimpleNamespace(token_ids=[*word, end], text="", finish_reason="stop", stop_reason=end),
            SimpleNamespace(token_ids=word, text="", finish_reason="length", stop_reason=None),
            SimpleNamespace(token_ids=word, text=" He", finish_reason="stop", stop_reason="llo"),
        ]
    )
    generator = VllmGenerator(llm, tokenizer, end_ids=ends, id="tiny", revision="1")  # type: ignore[arg-type]
    local = LocalGenerator(model, tokenizer, id="tiny", revision="1")
    sampling = Sampling(temperature=0.05, top_p=0.9, max_new_tokens=7, stop=("llo",))

    answers = generator.complete(QUESTIONS, sampling, seeds=[2**62, 1, 2])

    n = len(word)
    assert answers == [
        Completion(text="Hello there", num_tokens=n, finished=True),
        Completion(text="Hello there", num_tokens=n, finished=False),
        Completion(text="He", num_tokens=n, finished=True),
    ]
    assert llm.prompts == [local.encode(messages) for messages in QUESTIONS]
    assert [s.seed for s in llm.settings] == [2**62, 1, 2]
    first = vars(llm.settings[0])
    assert first.pop("stop_token_ids") == sorted(ends)
    assert first == {
        "temperature": 0.05,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ["llo"],
        "seed": 2**62,
    }
    assert generator.count_tokens(QUESTIONS[0]) == local.count_tokens(QUESTIONS[0])
    assert generator.complete([], sampling, seeds=[]) == []


@pytest.mark.usefixtures("fake_vllm")
@pytest.mark.parametrize("dead", [False, True])
def test_a_failure_of_vllm_is_told_and_may_pass(backbone: tuple[Any, Any], dead: bool) -> None:
    class Failing(FakeLLM):
        def generate(self, *_: Any, **__: Any) -> list[Any]:
            exceptions = sys.modules["vllm"].v1.engine.exceptions  # type: ignore[attr-defined]
            kind = exceptions.EngineDeadError if dead else RuntimeError
            raise kind("CUDA out of memory.\nTried to allocate 2 GiB")

    model, tokenizer = backbone
    ends = end_ids(model, tokenizer)
    generator = VllmGenerator(Failing(), tokenizer, end_ids=ends, id="tiny", revision="1")  # type: ignore[arg-type]
    with pytest.raises(
        UnavailableError, match=r"^vLLM has failed: CUDA out of memory\.\n"
    ) as caught:
        generator.complete(QUESTIONS, Sampling(), seeds=[0, 1, 2])
    assert "what was answered is kept" in caught.value.fix


@pytest.mark.usefixtures("fake_vllm")
def test_a_conversation_that_vllm_cannot_take_leaves_the_others_alone(
    backbone: tuple[Any, Any],
) -> None:
    model, tokenizer = backbone
    texts = ("Because", "Never")
    llm = FakeLLM(
        [
            SimpleNamespace(
                token_ids=tokenizer.encode(t, add_special_tokens=False),
                text="",
                finish_reason="stop",
                stop_reason=None,
            )
            for t in texts
        ]
    )
    ends = end_ids(model, tokenizer)
    generator = VllmGenerator(llm, tokenizer, end_ids=ends, id="tiny", revision="1")  # type: ignore[arg-type]
    long = [Message(role="user", content="Why? " * 200)]
    first, refusal, last = generator.complete(
        [QUESTIONS[0], long, QUESTIONS[1]], Sampling(), seeds=[0, 1, 2]
    )
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "longer than engine.max_length"
    assert "do not fit into the 100 of vLLM" in refusal.message
    assert [o.text for o in (first, last) if isinstance(o, Completion)] == list(texts)
    assert [setting.seed for setting in llm.settings] == [0, 2]
    assert [type(o) for o in generator.complete([long], Sampling(), seeds=[0])] == [Refusal]


@pytest.mark.usefixtures("fake_vllm")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone_quantization": "int8"}, "does not support backbone_quantization"),
        ({"backbone_dtype": "bfloat16"}, "cannot round weights to bfloat16"),
    ],
)
def test_vllm_is_not_given_another_backbone(
    published_tiny: Path, changes: dict[str, Any], message: str
) -> None:
    place = str(published_tiny / "backbone")
    with pytest.raises(ConfigError, match=message) as caught:
        load_generator(Recipe(backbone=place, engine=VllmEngine(), **changes))
    assert "kind: local" in caught.value.fix


def test_missing_vllm_is_said_with_its_extra(
    published_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingExtraError, match='"vllm" is needed') as caught:
        load_generator(Recipe(backbone=str(published_tiny / "backbone"), engine=VllmEngine()))
    assert caught.value.fix == 'pip install "desta[vllm]"'


def test_a_missing_client_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(MissingExtraError) as caught:
        load_generator(Recipe(engine=OpenAIEngine(base_url="http://127.0.0.1:9/v1")))
    assert caught.value.fix == 'pip install "desta[api]"'


def test_the_local_engine_is_what_it_was(published_tiny: Path) -> None:
    place = str(published_tiny / "backbone")
    generator = load_generator(Recipe(backbone=place))
    assert generator.id == place
    assert generator.revision.endswith("as float32, computed in float32")
    assert generator.order == "length"
    tokenizer = AutoTokenizer.from_pretrained(place)
    assert generator.count_tokens(QUESTIONS[0]) > len(tokenizer.encode("What?"))
