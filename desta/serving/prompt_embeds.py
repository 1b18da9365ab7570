"""Messages with clips as embeddings, the form in which a text server reads them.

The content of a message (clips, transcriptions, text) becomes one part of the kind `prompt_embeds`:
the server puts its chat template around it, and never sees what was said or asked as text that it
could parse (docs/decisions/0046).
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from desta.data.layout import Tokens, wrap_locators
from desta.errors import DestaError
from desta.inference.audio_encoding import with_text
from desta.inference.clip_cache import EncodedClip
from desta.inference.engine import Engine
from desta.inference.request_checks import check_total_seconds
from desta.model.backbone.chat import holds_control_tokens
from desta.records import Message, with_audios
from desta.serving.errors import ServingError, too_long
from desta.serving.protocol import HeardClip

KIND = "prompt_embeds"
_PLACEHOLDER = f"<{KIND}>"
"""Placeholder of vLLM for embeddings, which text must not hold."""


class Embedder:
    """Turns messages into those of a text server; thread-safe."""

    def __init__(self, engine: Engine, *, max_seconds: float, max_positions: int) -> None:
        """Create an embedder.

        Args:
            engine: a loaded model; only its layout and the embedding table are used.
            max_seconds: audio of one request, in seconds.
            max_positions: tokens of one request that are embedded.
        """
        self._engine = engine
        self._max_seconds = max_seconds
        self._max_positions = max_positions

    def messages(
        self,
        messages: Sequence[Message],
        raw: Sequence[Mapping[str, Any]],
        clips: Sequence[EncodedClip | DestaError],
    ) -> tuple[list[dict[str, Any]], list[HeardClip]]:
        """Return the messages of a request for the server, and the clips as the model gets them.

        Messages without clips are left as they are, unless their text spells a control token.

        Args:
            messages: the messages.
            raw: the same in the client's body.
            clips: all clips of the messages, encoded; an error among them is raised.

        Raises:
            DataError: the clips are too long together.
            ServingError: the messages are.
        """
        good = [_good(clip) for clip in clips]
        check_total_seconds((clip.seconds for clip in good), self._max_seconds)
        rest, heard, out = iter(good), list[HeardClip](), list[dict[str, Any]]()
        room = self._max_positions
        for message, own in zip(messages, raw, strict=True):
            encoded = [next(rest) for _ in message.audios]
            refs = [with_text(ref, clip) for ref, clip in zip(message.audios, encoded, strict=True)]
            [known] = with_audios([message], refs)
            out.append({**own, "role": message.role})
            if refs or self._is_parsed(message.content):
                tokens = self._lay_out(known, encoded)
                room -= len(tokens.ids)
                if room < 0:  # before their embeddings, which are thousands of times larger
                    raise too_long(self._max_positions)
                out[-1]["content"] = [part_of(self._fill(tokens, encoded))]
                heard += [
                    HeardClip(
                        text=ref.text or "",
                        seconds=clip.seconds,
                        num_audio_tokens=span.num_audio_tokens,
                        num_text_tokens=span.num_text_tokens,
                    )
                    for ref, clip, span in zip(refs, encoded, tokens.spans, strict=True)
                ]
        return out, heard

    def _is_parsed(self, text: str) -> bool:
        """Return whether the server would take a part of a text for a token of its own."""
        return _PLACEHOLDER in text or holds_control_tokens(self._engine.tokenizer, text)

    def embed(self, message: Message, clips: Sequence[EncodedClip]) -> Tensor:
        """Return the embeddings of the content of a message, (S, E).

        Args:
            message: the message, with the transcription of each clip.
            clips: its clips, encoded.
        """
        return self._fill(self._lay_out(message, clips), clips)

    def _lay_out(self, message: Message, clips: Sequence[EncodedClip]) -> Tokens:
        layout = self._engine.layout
        [wrapped] = wrap_locators([message], layout.locator)
        return layout.content(wrapped, [len(clip.audio_WQE) for clip in clips])

    @torch.no_grad()
    def _fill(self, tokens: Tokens, clips: Sequence[EncodedClip]) -> Tensor:
        places = zip((s.start for s in tokens.spans), (c.audio_WQE for c in clips), strict=True)
        return self._engine.model.sequence(tokens.ids, list(places))


def part_of(embeddings_SE: Tensor) -> dict[str, str]:
    """Return embeddings as the part of a message."""
    buffer = io.BytesIO()
    torch.save(embeddings_SE.detach().cpu().contiguous(), buffer)
    return {"type": KIND, "data": base64.b64encode(buffer.getvalue()).decode()}


def check_no_embeddings(body: Mapping[str, Any]) -> None:
    """Refuse embeddings that a client sends: servers have crashed on tensors made for that.

    Raises:
        ServingError: there are some.
    """
    messages = [m for m in body.get("messages", ()) if isinstance(m, Mapping)]
    found = next(_embeddings([{k: None for k in body}, *map(_without_calls, messages)]), None)
    if found is not None:
        raise ServingError(
            f'"{found}" is not taken from clients: embeddings are made here',
            fix="send recordings as input_audio, and text",
            code="unsupported_parameter",
            param=found,
        )


def _without_calls(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without the arguments of functions, which may have any names."""
    return {name: value for name, value in message.items() if name != "tool_calls"}


def _embeddings(value: Any) -> Iterator[str]:
    """Yield the names of embeddings anywhere in a JSON value."""
    if isinstance(value, Mapping):
        kind = value.get("type")
        names = [*value, *([kind] if isinstance(kind, str) else [])]
        yield from (name for name in names if str(name).endswith("_embeds"))
        for inner in value.values():
            yield from _embeddings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _embeddings(inner)


def _good(clip: EncodedClip | DestaError) -> EncodedClip:
    if isinstance(clip, DestaError):
        raise clip
    return clip
