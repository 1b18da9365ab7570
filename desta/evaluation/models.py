"""Who can be asked: a model of ours, a bare backbone, an endpoint that hears."""

import base64
import hashlib
import io
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile

from desta import audio
from desta.errors import CheckpointError, ConfigError, DataError
from desta.evaluation.benchmarks.attributes import EvalConfig
from desta.evaluation.recipe import SuiteRecipe
from desta.evaluation.scores import PLAN, read_plan
from desta.evaluation.systems import CASCADE, Answerers, needs_model, reads
from desta.files import sha256
from desta.generators.base import Outcome, Refusal, TextGenerator
from desta.generators.config import LocalEngine, OpenAIEngine
from desta.generators.load import load_generator
from desta.generators.openai.client import connect
from desta.inference.engine import Engine
from desta.isolation import half_of, holds_half
from desta.model.backbone.sampling import Sampling
from desta.model.checkpoint import WEIGHTS, find_stored_format
from desta.model.config import AUTO, Dtype, Quantization
from desta.model.precision import choose_device
from desta.records import (
    END_AUDIO,
    LOCATOR,
    NO_TRANSCRIPTION,
    START_AUDIO,
    AudioRef,
    Message,
)

log = logging.getLogger(__name__)

R = TypeVar("R", SuiteRecipe, EvalConfig)


class Reader:
    """A text generator, asked about conversations."""

    def __init__(
        self, generator: TextGenerator, content: Callable[[Message], Any] | None = None
    ) -> None:
        """Take a generator.

        Args:
            generator: writes.
            content: what it is given of a message, where it hears; None: it only reads.
        """
        self._generator = generator
        self._content = content

    def answer(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling
    ) -> list[str | DataError]:
        """Answer each conversation, in order; an error is in the place of one that is refused."""
        self._check(conversations)
        halves = [any(holds_half(m.content) for m in talk) for talk in conversations]
        whole = [talk for talk, half in zip(conversations, halves, strict=True) if not half]
        outcomes = iter(self._generator.complete(whole, sampling, seeds=[0] * len(whole)))
        return [
            half_of("a message") if half else self._text(next(outcomes), sampling)
            for half in halves
        ]

    def _text(self, outcome: Outcome, sampling: Sampling) -> str | DataError:
        if isinstance(outcome, Refusal):
            return DataError(
                f"{self._generator.id} refuses: {outcome.message}",
                fix="leave the item out, or ask another system",
            )
        if outcome.only_reasoning:
            cut = "" if outcome.finished else f", cut off after {sampling.max_new_tokens} tokens"
            return DataError(
                f"{self._generator.id} writes nothing but reasoning{cut}",
                fix="raise max_new_tokens, or let it answer without reasoning",
            )
        return outcome.text

    def digest(self, conversation: Sequence[Message]) -> str:
        """Return a hash of what is sent."""
        self._check([conversation])
        sent = [(m.role, self._content(m) if self._content else m.content) for m in conversation]
        return hashlib.sha256(json.dumps(sent).encode()).hexdigest()

    def transcribe(self, refs: Sequence[AudioRef]) -> list[str]:
        """Refuse: it does not transcribe."""
        raise ConfigError(
            f"{self._generator.id} does not transcribe", fix="leave the system cascade out"
        )

    def _check(self, conversations: Sequence[Sequence[Message]]) -> None:
        if self._content is None and any(m.audios for c in conversations for m in c):
            raise ConfigError(
                f"{self._generator.id} only reads", fix="ask a model that hears about clips"
            )


def audio_parts(message: Message) -> str | list[dict[str, Any]]:
    """Return a message as endpoints take it: text, and clips as WAV in base64.

    Raises:
        AudioError: a clip cannot be read.
    """
    if not message.audios:
        return message.content
    text = message.content.replace(START_AUDIO, "").replace(END_AUDIO, "")
    first, *others = text.split(LOCATOR)
    parts = [_text(first)] if first.strip() else []
    for clip, rest in zip(message.audios, others, strict=True):
        data = {"data": _wav(clip.audio), "format": "wav"}
        parts.append({"type": "input_audio", "input_audio": data})
        if rest.strip():
            parts.append(_text(rest.strip()))
    return parts


def connect_hearer(endpoint: OpenAIEngine) -> Reader:
    """Return an endpoint that hears, or is found not to before anything else is asked.

    Raises:
        ConfigError: it does not answer, or refuses key, model or a second of silence.
    """
    silence = np.zeros(audio.SAMPLE_RATE, np.float32), audio.SAMPLE_RATE
    question = Message(
        role="user",
        content=f"{LOCATOR} What do you hear?",
        audios=(AudioRef(audio=silence, text=NO_TRANSCRIPTION),),
    )
    generator = connect(endpoint, model=str(endpoint.model), content=audio_parts, question=question)
    return Reader(generator, audio_parts)


def load_answerers(recipe: SuiteRecipe | EvalConfig) -> Answerers:
    """Load who is needed for the systems of a recipe, and nobody else.

    Raises:
        ConfigError: nobody is named who could answer for one of them, or an endpoint refuses.
        CheckpointError: a model cannot be loaded.
    """
    if isinstance(recipe, EvalConfig):
        return Answerers(model=Engine.load(recipe.model, device=recipe.device))
    names = recipe.systems
    hears = needs_model(names)
    model = None
    if recipe.model is not None and (hears or (reads(names) and recipe.backbone is None)):
        model = Engine.load(recipe.model, device=recipe.device)
    backbone = None
    if recipe.backbone is not None and (reads(names) or CASCADE in names):
        engine = LocalEngine(device=recipe.device)
        backbone = Reader(load_generator(_Backbone(recipe.backbone, engine)))
    endpoints = {n: connect_hearer(e) for n, e in recipe.endpoints.items() if n in names}
    return Answerers(model=model, backbone=backbone, endpoints=endpoints)


def on_device(recipe: R, out: Path) -> R:
    """Return a recipe that says which device `auto` is: the one that its folder was begun on.

    Args:
        recipe: of any benchmark.
        out: its folder, which need not be there.

    Raises:
        CheckpointError: there is no such model.
    """
    if recipe.device != AUTO:
        return recipe
    if (out / PLAN).is_file():
        device = read_plan(out / PLAN)["config"].get("device", "cpu")
        log.info("device: %s, on which %s was begun", device, out)
        return replace(recipe, device=device)
    model = recipe.model
    device = choose_device(AUTO, stored=lambda: find_stored_format(model) if model else None)
    return replace(recipe, device=str(device))


def weights_of(model: str | Path | None) -> str | None:
    """Return what tells the weights of a model from others: a hash; of the Hub, its id.

    Raises:
        CheckpointError: the directory holds none.
    """
    if model is None:
        return None
    if not Path(model).is_dir():
        return str(model)
    path = Path(model) / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file", fix="give the directory of a trained model")
    return sha256(path)


@dataclass(frozen=True)
class _Backbone:
    """What `load_generator` asks of a recipe."""

    backbone: str
    engine: LocalEngine
    dtype: Dtype = "auto"
    backbone_dtype: Dtype = "bfloat16"
    backbone_quantization: Quantization | None = None


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _wav(clip: Any) -> str:
    file = io.BytesIO()
    soundfile.write(file, audio.load_audio(clip), audio.SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return base64.b64encode(file.getvalue()).decode("ascii")
