"""Drop-in replacement of the published class `DeSTA25AudioModel`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.inference.engine import Engine
from desta.model import checkpoint
from desta.model.backbone.sampling import Sampling
from desta.model.config import Dtype, Quantization
from desta.records import Message
from desta.renamed import keywords


@dataclass(frozen=True)
class GenerationOutput:
    """Output of `generate`, with the fields of the published code."""

    text: list[str]
    """One answer per conversation."""
    audios: list[tuple[Any, str]]
    """Recording as given and transcription of every clip, in order over all conversations."""
    generated_ids: list[list[int]]
    """New token ids of every answer."""


class DeSTA25AudioModel:
    """Drop-in for the published class, on top of `desta.inference.engine.Engine`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    @keywords(quantisation="quantization")
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        dtype: Dtype | None = None,
        quantization: Quantization | None = None,
        device: str = "cpu",
    ) -> "DeSTA25AudioModel":
        """Load a model from a directory or a Hub id.

        Args:
            name: directory or id; published checkpoints and our own.
            dtype: compute dtype of the frozen parts; None means the checkpoint's.
            quantization: of the backbone's weights; None means the checkpoint's.
            device: device of the model; as published the CPU by default.
        """
        return cls(Engine.load(name, dtype=dtype, quantization=quantization, device=device))

    def to(self, device: str) -> "DeSTA25AudioModel":
        """Move the model to a device."""
        self.engine.to(device)
        return self

    def eval(self) -> "DeSTA25AudioModel":
        """Do nothing: the model is always in evaluation mode."""
        return self

    def generate(
        self,
        messages: Sequence[Any],
        *,
        do_sample: bool = True,
        temperature: float = 0.7,
        top_p: float = 0.9,
        max_new_tokens: int = 512,
    ) -> GenerationOutput:
        """Answer one conversation or a list of conversations.

        Args:
            messages: dictionaries with `role`, `content` (one `<|AUDIO|>` per clip) and
                `audios: [{"audio": path, "text": transcription or None}]`. Instead of a path also
                the bytes of a file, or (samples, rate): an array (T,) or (T, channels), and Hz.
            do_sample: False is greedy and ignores temperature and top_p.
            temperature: of sampling.
            top_p: probability mass of the likeliest tokens that are sampled from.
            max_new_tokens: length after which an answer is cut off.

        Raises:
            DataError: there are no messages, one is ill-formed, or as `Engine.respond`.
        """
        conversations = (
            [messages]
            if isinstance(messages, Sequence) and messages and isinstance(messages[0], Mapping)
            else messages
        )
        listed = isinstance(conversations, Sequence) and not isinstance(conversations, str)
        if not listed or not all(isinstance(talk, Sequence) for talk in conversations):
            raise DataError(
                "messages is no list of messages",
                fix='write [{"role": "user", "content": ...}]',
            )
        if not conversations:
            raise DataError("there are no messages", fix="give at least one message")
        sampling = Sampling(
            temperature=temperature if do_sample else 0.0,
            top_p=top_p,
            max_new_tokens=max_new_tokens,
        )
        parsed = [[_message(m) for m in conversation] for conversation in conversations]
        answers = self.engine.respond(parsed, sampling)
        return GenerationOutput(
            text=[a.text for a in answers],
            audios=[(ref.audio, ref.text or "") for a in answers for ref in a.audios],
            generated_ids=[a.ids for a in answers],
        )

    def save_pretrained(self, directory: str | Path) -> None:
        """Write `config.json` and `model.safetensors` under the published names."""
        extra = {"system_prompt": self.engine.system_prompt}
        checkpoint.save(self.engine.model, Path(directory), extra=extra)


def _message(record: Any) -> Message:
    try:
        return Message.from_json(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"a message is not in the chat format: {error}",
            fix='write {"role": ..., "content": ..., "audios": [{"audio": path}]}',
        ) from error
