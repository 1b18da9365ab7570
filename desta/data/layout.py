"""Layout of conversations as token ids: the only module that computes positions of audio tokens.

A clip is laid out as `<start_audio>`, its audio tokens, its transcription, `<end_audio>`. The
transcription is tokenized on its own and never merges with its neighbours; the tags are ordinary
text. Ids are never decoded here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from desta.errors import DataError
from desta.model.backbone.audio_placeholders import check_locator, placeholder_id
from desta.model.backbone.chat import encode_chat, encode_content, encode_text, end_id
from desta.model.backbone.decoding import pad_id
from desta.model.config import NO_LABEL
from desta.records import END_AUDIO, NO_TRANSCRIPTION, START_AUDIO, AudioRef, Message


@dataclass(frozen=True)
class Span:
    """Positions of one clip in a sequence."""

    start: int
    """Position of its first audio token."""
    num_audio_tokens: int
    """Audio tokens of all its windows."""
    num_text_tokens: int
    """Tokens of the transcription, which follow the audio tokens."""


@dataclass(frozen=True)
class Tokens:
    """A conversation as token ids."""

    ids: list[int]
    spans: list[Span]
    num_context: int
    """Tokens before the response, without loss."""
    num_cut_text: int = 0
    """Transcription tokens cut off."""
    num_cut_response: int = 0
    """Response tokens cut off; the end token is always kept."""

    @property
    def labels(self) -> list[int]:
        """The response and its end token; `NO_LABEL` before."""
        return [NO_LABEL] * self.num_context + self.ids[self.num_context :]

    @property
    def positions(self) -> list[int]:
        """Position of every token in its conversation."""
        return list(range(len(self.ids)))

    @property
    def branches(self) -> list[int]:
        """Number of the branch of every token: a conversation alone is all stem."""
        return [0] * len(self.ids)

    @property
    def num_stem(self) -> int:
        """Tokens that other sequences can share: the last of the context predicts a label."""
        return self.num_context - 1


class Layout:
    """Layout of conversations for one backbone."""

    def __init__(
        self,
        tokenizer: Any,
        *,
        num_query_tokens: int,
        locator: str,
        placeholder_token: str | None = None,
        num_embeddings: int | None = None,
    ) -> None:
        """Create a layout.

        Args:
            tokenizer: the backbone's, with a chat template.
            num_query_tokens: audio tokens per window.
            locator: text that marks a clip.
            placeholder_token: token whose id marks audio positions; None picks an unused one.
            num_embeddings: rows of the backbone's embedding table, if known.

        Raises:
            ConfigError: the locator or the placeholder token does not suit this backbone.
        """
        check_locator(tokenizer, locator)
        self.tokenizer = tokenizer
        self.num_query_tokens = num_query_tokens
        self.locator = locator
        self.pad_id = pad_id(tokenizer)
        self.end_id = end_id(tokenizer)
        self.placeholder_id = placeholder_id(
            tokenizer, placeholder_token, num_embeddings or len(tokenizer)
        )

    def context(
        self,
        messages: Sequence[Message],
        num_windows: Sequence[int],
        *,
        max_text_tokens: int | None = None,
    ) -> Tokens:
        """Lay out a conversation, including the header of the assistant's next turn.

        Args:
            messages: messages whose contents hold one locator per clip.
            num_windows: number of windows of each clip, in order.
            max_text_tokens: limit of tokens per transcription.

        Raises:
            DataError: the number of locators differs from the number of clips.
        """
        audios = check_locators(messages, self.locator)
        texts = [encode_text(self.tokenizer, audio.text or NO_TRANSCRIPTION) for audio in audios]
        kept = [text[:max_text_tokens] for text in texts]
        runs = encode_chat(self.tokenizer, messages, locator=self.locator)
        ids, spans = expand(
            runs,
            texts=kept,
            num_audio_tokens=[n * self.num_query_tokens for n in num_windows],
            placeholder=self.placeholder_id,
        )
        num_cut = sum(map(len, texts)) - sum(map(len, kept))
        return Tokens(ids, spans, num_context=len(ids), num_cut_text=num_cut)

    def content(self, message: Message, num_windows: Sequence[int]) -> Tokens:
        """Lay out the content of one message, without what the chat template puts around it.

        Args:
            message: message whose content holds one locator per clip.
            num_windows: number of windows of each clip, in order.

        Raises:
            DataError: the number of locators differs from the number of clips.
        """
        audios = check_locators([message], self.locator)
        ids, spans = expand(
            encode_content(self.tokenizer, message.content, locator=self.locator),
            texts=[encode_text(self.tokenizer, a.text or NO_TRANSCRIPTION) for a in audios],
            num_audio_tokens=[n * self.num_query_tokens for n in num_windows],
            placeholder=self.placeholder_id,
        )
        return Tokens(ids, spans, num_context=len(ids))

    def training(
        self,
        messages: Sequence[Message],
        response: str,
        num_windows: Sequence[int],
        *,
        max_text_tokens: int | None = None,
        max_tokens: int | None = None,
    ) -> Tokens:
        """Lay out a conversation with the response to be learnt, closed by the chat template.

        A response that exceeds `max_tokens` is cut before its end token.

        Raises:
            DataError: locators and clips differ in number, or the context alone is too long.
        """
        context = self.context(messages, num_windows, max_text_tokens=max_text_tokens)
        answer = encode_text(self.tokenizer, response)
        room = len(answer) if max_tokens is None else max_tokens - context.num_context - 1
        if room < 1 and answer:
            raise DataError(
                f"the conversation before the response has {context.num_context} tokens, "
                f"which leaves no room within {max_tokens}",
                fix="raise max_tokens or shorten the messages",
            )
        return replace(
            context,
            ids=[*context.ids, *answer[:room], self.end_id],
            num_cut_response=len(answer) - len(answer[:room]),
        )


def expand(
    runs: Sequence[Sequence[int]],
    *,
    texts: Sequence[Sequence[int]],
    num_audio_tokens: Sequence[int],
    placeholder: int,
) -> tuple[list[int], list[Span]]:
    """Join runs of ids with the placeholders and the transcription of a clip between them."""
    ids = list(runs[0])
    spans = []
    for run, text, num_audio in zip(runs[1:], texts, num_audio_tokens, strict=True):
        spans.append(Span(len(ids), num_audio, len(text)))
        ids += [placeholder] * num_audio + [*text, *run]
    return ids, spans


def check_locators(messages: Sequence[Message], locator: str) -> list[AudioRef]:
    """Check that locators match clips, and return the clips in order.

    Raises:
        DataError: a message has more or fewer locators than clips.
    """
    for message in messages:
        found = message.content.count(locator)
        if found != len(message.audios):
            raise DataError(
                f"a message has {found} {locator} but {len(message.audios)} audio clips",
                fix=f"write one {locator} in its content for each clip",
            )
    return [audio for message in messages for audio in message.audios]


def wrap_locators(messages: Sequence[Message], locator: str) -> list[Message]:
    """Put `<start_audio>` and `<end_audio>` around every locator that lacks them."""
    block = f"{START_AUDIO}{locator}{END_AUDIO}"
    return [
        replace(m, content=m.content.replace(block, locator).replace(locator, block))
        for m in messages
    ]
