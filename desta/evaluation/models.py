"""Models that systems are made of: an audio model, a text model, audio endpoints."""

import base64
import hashlib
import io
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile

from desta import audio
from desta.errors import CheckpointError, ConfigError, DataError
from desta.evaluation.recipe import EvalRecipe
from desta.evaluation.scores import PLAN, read_plan
from desta.evaluation.systems import CASCADE, Models, needs_audio_model, needs_text_model
from desta.files import sha256
from desta.generators.base import Outcome, Refusal, TextGenerator
from desta.generators.config import GeneratorConfig, LocalEngine, OpenAIEngine
from desta.generators.load import load_generator
from desta.generators.openai.client import connect
from desta.inference.engine import Engine
from desta.isolation import half_of, holds_half
from desta.model.backbone.sampling import Sampling
from desta.model.checkpoint import WEIGHTS, find_stored_format
from desta.model.config import AUTO
from desta.model.precision import choose_device
from desta.records import END_AUDIO, LOCATOR, NO_TRANSCRIPTION, START_AUDIO, AudioRef, Message

log = logging.getLogger(__name__)

D = TypeVar("D")


class TextModel:
    """A text generator that answers conversations."""

    def __init__(
        self, generator: TextGenerator, content: Callable[[Message], Any] | None = None
    ) -> None:
        """Wrap a generator.

        Args:
            generator: generates the answers.
            content: turns a message with clips into the content that is sent; None: text only.
        """
        self._generator = generator
        self._content = content

    def answer(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling
    ) -> list[str | DataError]:
        """Answer each conversation, in order; an error takes the place of a refused one."""
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
        """Return a hash of the input that is sent."""
        self._check([conversation])
        sent = [(m.role, self._content(m) if self._content else m.content) for m in conversation]
        return hashlib.sha256(json.dumps(sent).encode()).hexdigest()

    def transcribe(self, refs: Sequence[AudioRef]) -> list[str]:
        """Raise ConfigError: a text model does not transcribe."""
        raise ConfigError(
            f"{self._generator.id} does not transcribe", fix="leave the system cascade out"
        )

    def _check(self, conversations: Sequence[Sequence[Message]]) -> None:
        if self._content is None and any(m.audios for c in conversations for m in c):
            raise ConfigError(f"{self._generator.id} takes no audio", fix="name a model that does")


def audio_parts(message: Message) -> str | list[dict[str, Any]]:
    """Return the content of a message for OpenAI's API: text, and clips as WAV in base64.

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


def connect_audio_endpoint(endpoint: OpenAIEngine) -> TextModel:
    """Connect to an audio endpoint and try it with a second of silence.

    Raises:
        ConfigError: it does not answer, or refuses the key, the model or the clip.
    """
    silence = np.zeros(audio.SAMPLE_RATE, np.float32), audio.SAMPLE_RATE
    question = Message(
        role="user",
        content=f"{LOCATOR} What do you hear?",
        audios=(AudioRef(audio=silence, text=NO_TRANSCRIPTION),),
    )
    generator = connect(endpoint, model=str(endpoint.model), content=audio_parts, question=question)
    return TextModel(generator, audio_parts)


def load_models(recipe: EvalRecipe[Any]) -> Models:
    """Load the models that the systems of a recipe need, and no others.

    Raises:
        ConfigError: an endpoint refuses.
        CheckpointError: a model cannot be loaded.
    """
    names = recipe.systems
    text = needs_text_model(names)
    model = backbone = None
    if recipe.model is not None and (
        needs_audio_model(names) or (text and recipe.backbone is None)
    ):
        model = Engine.load(recipe.model, device=recipe.device)
    if recipe.backbone is not None and (text or CASCADE in names):
        engine = LocalEngine(device=recipe.device)
        backbone = TextModel(
            load_generator(GeneratorConfig(backbone=recipe.backbone, engine=engine))
        )
    endpoints = {n: connect_audio_endpoint(e) for n, e in recipe.endpoints.items() if n in names}
    return Models(model=model, backbone=backbone, endpoints=endpoints)


def with_device(recipe: EvalRecipe[D], out: Path) -> EvalRecipe[D]:
    """Resolve `auto`: to the device of the plan in `out`, if there is one.

    Args:
        recipe: of any benchmark.
        out: folder of the evaluation; may be missing.

    Raises:
        CheckpointError: the model does not exist.
    """
    if recipe.device != AUTO:
        return recipe
    if (out / PLAN).is_file():
        device = read_plan(out / PLAN)["config"].get("device", "cpu")
        log.info("device: %s, as in %s", device, out / PLAN)
        return replace(recipe, device=device)
    model = recipe.model
    device = choose_device(AUTO, stored=lambda: find_stored_format(model) if model else None)
    return replace(recipe, device=str(device))


def model_fingerprint(model: str | Path | None) -> str | None:
    """Return the SHA-256 of a model's weights in hex; of a model of the Hub, its id.

    Raises:
        CheckpointError: the directory holds no weights.
    """
    if model is None:
        return None
    if not Path(model).is_dir():
        return str(model)
    path = Path(model) / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file", fix="give the directory of a trained model")
    return sha256(path)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _wav(clip: Any) -> str:
    file = io.BytesIO()
    soundfile.write(file, audio.load_audio(clip), audio.SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return base64.b64encode(file.getvalue()).decode("ascii")
