"""Chat tokenization: messages -> token ids, in which text never becomes a control token.

The chat template is rendered by the tokenizer. Before that, every control token that stands in
the *content* of a message is replaced by private-use characters; afterwards the rendered text is
cut at the control tokens that remain, which are all the template's own, and what lies between is
put back and tokenized with special-token parsing off.

Templates differ in more than their tokens (docs/decisions/0014): date, thinking and system messages
are handled here, in the same way for construction, training and inference.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from itertools import groupby
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from tokenizers import Tokenizer

from desta.errors import CheckpointError, DataError
from desta.isolation import half_of, holds_half
from desta.records import LOCATOR, NO_TRANSCRIPTION, Message

DATE = date(2024, 7, 26)
"""Date that every template is rendered with: the default of Llama 3.1, with which the published
model was trained. Answers must not depend on the day they are generated."""
OPTIONS = {
    "date_string": DATE.strftime("%d %b %Y"),  # Llama 3
    "enable_thinking": False,  # Qwen3, SmolLM3: responses are answers, not thoughts
}
"""Variables that every template is rendered with."""
_TODAY = re.compile(r"strftime_now\(\s*(['\"])(.+?)\1\s*\)")  # SmolLM3, Llama 3.2
_SHOWN = 80
"""Characters of a template's line that an error quotes."""
_GUARD = "\ue000{}\ue001"  # private use area: no tokenizer assigns it a control token
_GUARDED = re.compile(_GUARD.format(r"\d+"))
_CONTENT = "\ue002"


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Tokenize plain text: control tokens in it stay text, and no special tokens are added.

    Raises:
        DataError: the text holds half a character (a lone surrogate).
    """
    if not text:
        return []
    if holds_half(text):
        raise half_of("a text")
    inside = _vocabulary(tokenizer, str(tokenizer.chat_template)).inside
    continuing = _continuing(tokenizer)
    ids: list[int] = []
    for piece in [text] if inside is None else inside.split(text):
        if continuing is None:
            ids += tokenizer.encode(piece, add_special_tokens=False, split_special_tokens=True)
        else:
            ids += continuing.encode(piece, add_special_tokens=False).ids
    return ids


def encode_chat(
    tokenizer: Any,
    messages: Sequence[Message],
    *,
    locator: str | None = None,
    add_generation_prompt: bool = True,
) -> list[list[int]]:
    """Tokenize a conversation.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        messages: the conversation; `audios` are ignored.
        locator: text at which the ids are cut; None if the messages hold no clips.
        add_generation_prompt: end with the header of the assistant's turn.

    Returns:
        Runs of token ids, one more than there are locators.

    Raises:
        DataError: the chat template refuses the messages, or one holds half a character.
    """
    if any(holds_half(text) for m in messages for text in (m.role, m.content)):
        raise half_of("a message")
    vocabulary = _vocabulary(tokenizer, str(tokenizer.chat_template), locator)
    guarded = [(m.role, vocabulary.guard(m.content)) for m in messages]  # free of control tokens
    rendered = render_chat(tokenizer, guarded, add_generation_prompt=add_generation_prompt)
    pieces = vocabulary.stops.split(rendered) if vocabulary.stops else [rendered]

    added = {str(token): token for token in tokenizer.added_tokens_decoder.values()}
    runs: list[list[int]] = [[]]
    for index, piece in enumerate(pieces):
        if index % 2:  # a stop: re.split puts what it split at on the odd places
            if piece == locator:
                runs.append([])
            else:
                runs[-1].append(tokenizer.convert_tokens_to_ids(piece))
            continue
        before = added.get(pieces[index - 1]) if index else None
        after = added.get(pieces[index + 1]) if index + 1 < len(pieces) else None
        if before is not None and before.rstrip:  # a token that absorbs the spaces beside it
            piece = piece.lstrip()
        if after is not None and after.lstrip:
            piece = piece.rstrip()
        runs[-1] += encode_text(tokenizer, vocabulary.restore(piece))
    return runs


def encode_content(tokenizer: Any, content: str, *, locator: str) -> list[list[int]]:
    """Tokenize the content of one message, for a server that puts the chat template around it.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        content: the content; spaces at its ends are dropped if the template drops them.
        locator: text at which the ids are cut.

    Returns:
        Runs of token ids, one more than there are locators.

    Raises:
        DataError: the content holds half a character.
    """
    if _trims(tokenizer, str(tokenizer.chat_template)):
        content = content.strip()
    return [encode_text(tokenizer, part) for part in content.split(locator)]


def holds_control_tokens(tokenizer: Any, text: str) -> bool:
    """Return whether a text spells a control token, which a server may take for one."""
    stops = _vocabulary(tokenizer, str(tokenizer.chat_template)).stops
    return stops is not None and stops.search(text) is not None


def takes_system(tokenizer: Any) -> bool:
    """Return whether the chat template has a system role; without one, see `with_system`."""
    rendered, refusal = _rendered(tokenizer, [("system", _CONTENT), ("user", "x")], True)
    return not refusal and _CONTENT in rendered


def with_system(system: str, message: Message) -> Message:
    """Return a user message that begins with the system prompt, as `render_chat` puts it."""
    return replace(message, content=_joined(system, message.content))


def _joined(system: str, content: str) -> str:
    return f"{system}\n\n{content}"


def dated(template: str) -> str:
    """Return a chat template with `DATE` in place of today's."""
    return _TODAY.sub(lambda match: json.dumps(DATE.strftime(match[2])), template)


def encode_conversation(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Tokenize a conversation for a text generator; each clip is replaced by its text.

    That text is tokenized on its own, as in training: no token spans the tags around it, and
    control tokens in it stay text.
    """
    texts = [clip.text or NO_TRANSCRIPTION for message in messages for clip in message.audios]
    runs = encode_chat(tokenizer, messages, locator=LOCATOR if texts else None)
    ids = list(runs[0])
    for text, run in zip(texts, runs[1:], strict=True):
        ids += [*encode_text(tokenizer, text), *run]
    return ids


def end_id(tokenizer: Any) -> int:
    """Return the id with which the chat template ends an assistant turn.

    It can differ from the tokenizer's end token: Gemma ends turns with `<end_of_turn>`, Phi-3 with
    `<|end|>`, and their `<eos>` and `<|endoftext|>` only end documents.
    """
    turns = [Message(role="user", content="x"), Message(role="assistant", content=_CONTENT)]
    _, *after = encode_chat(tokenizer, turns, locator=_CONTENT, add_generation_prompt=False)
    control = _vocabulary(tokenizer, str(tokenizer.chat_template)).control
    for index in after[-1] if after else []:
        if tokenizer.convert_ids_to_tokens(index) in control:
            return index
    return tokenizer.eos_token_id


def render_chat(
    tokenizer: Any, messages: Sequence[tuple[str, str]], *, add_generation_prompt: bool = True
) -> str:
    """Render a conversation with the backbone's chat template.

    For a template without a system role (Gemma 2, Mistral 7B v0.1) the system message is put at the
    beginning of the first user message, as the documentation of those models advises.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        messages: role and content of every turn.
        add_generation_prompt: end with the header of the assistant's turn.

    Raises:
        DataError: there are no messages, or the template refuses them.
        CheckpointError: the template has a syntax error.
    """
    if not messages:
        raise DataError("a conversation has no messages", fix="give at least one")
    rendered, refusal = _rendered(tokenizer, messages, add_generation_prompt)
    # some templates drop the system message silently
    kept = messages[0][0] != "system" or messages[0][1].strip() in rendered
    if (refusal or not kept) and [role for role, _ in messages[:2]] == ["system", "user"]:
        (_, system), (_, content), *others = messages
        merged = [("user", _joined(system, content)), *others]
        rendered, refusal = _rendered(tokenizer, merged, add_generation_prompt)
    if refusal:
        raise DataError(
            f"the chat template of the backbone refuses the messages: {refusal}",
            fix="alternate user and assistant messages, after at most one system message",
        )
    return rendered


def _rendered(
    tokenizer: Any, messages: Sequence[tuple[str, str]], add_generation_prompt: bool
) -> tuple[str, str]:
    """Return the rendered text and the template's error message (empty if there was none)."""
    template = tokenizer.get_chat_template()
    try:
        text = tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in messages],
            chat_template=dated(template),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **OPTIONS,
        )
    except TemplateSyntaxError as error:
        line = (template.splitlines() or [""])[error.lineno - 1].strip()
        raise CheckpointError(
            f'the chat template of "{tokenizer.name_or_path}" has a syntax error in line '
            f"{error.lineno}, `{line[:_SHOWN]}`: {error.message}",
            fix="correct its chat_template.jinja, or chat_template in its tokenizer_config.json",
        ) from error
    except TemplateError as error:
        return "", str(error) or type(error).__name__
    return text, ""


@dataclass(frozen=True)
class _Vocabulary:
    """Control tokens of a tokenizer, which the content of a message must not produce."""

    control: frozenset[str]
    guards: dict[str, str]
    """Control token -> its stand-in while the template is rendered."""
    tokens: dict[str, str]
    """Stand-in -> control token."""
    stops: re.Pattern[str] | None
    """Matches control tokens and the locator."""
    inside: re.Pattern[str] | None
    """Matches positions inside the control tokens that the tokenizer would parse in text."""

    def guard(self, text: str) -> str:
        """Replace all control tokens except the locator by their stand-ins."""
        if self.stops is None:
            return text
        return self.stops.sub(lambda match: self.guards.get(match[0], match[0]), text)

    def restore(self, text: str) -> str:
        """Undo `guard`."""
        return _GUARDED.sub(lambda match: self.tokens.get(match[0], match[0]), text)


@lru_cache(maxsize=8)  # some vocabularies have thousands of added tokens
def _vocabulary(tokenizer: Any, template: str, locator: str | None = None) -> _Vocabulary:
    """Return the control tokens of a tokenizer.

    `<think>`, `<tool_call>` and `<|fim_prefix|>` are added tokens but no special tokens, so parsing
    them cannot be switched off. Added words (letters and digits only) and runs of spaces are text.
    """
    added = tokenizer.added_tokens_decoder.values()
    # `all_special_tokens` alone would miss Llama 3's headers, which have no role in the tokenizer.
    special = {*tokenizer.all_special_tokens, *(str(token) for token in added if token.special)}
    words = sorted(
        token
        for token in map(str, added)
        if token not in special and any(map(str.isalnum, token)) and not token.isalnum()
    )
    control = frozenset({*special, *words})
    guards = {token: _GUARD.format(n) for n, token in enumerate(sorted(control - {locator}))}
    stops = sorted({*control, *([locator] if locator else [])}, key=len, reverse=True)
    inside = [  # by first letters: vocabularies have thousands that begin with the same bracket
        f"(?<={re.escape(first)})(?={'|'.join(re.escape(word[1:]) for word in group)})"
        for first, group in groupby(words, key=lambda word: word[0])
    ]
    return _Vocabulary(
        control,
        guards,
        {guard: token for token, guard in guards.items()},
        re.compile(f"({'|'.join(map(re.escape, stops))})") if stops else None,
        re.compile("|".join(inside)) if inside else None,
    )


@lru_cache(maxsize=8)
def _trims(tokenizer: Any, template: str) -> bool:
    """Return whether a chat template drops the spaces around the content of a message."""
    content = f" {_CONTENT} "
    return content not in render_chat(tokenizer, [("user", content)])


@lru_cache(maxsize=8)
def _continuing(tokenizer: Any) -> Tokenizer | None:
    """Return a tokenizer for text inside a sequence, or None if the same one serves.

    SentencePiece tokenizers (Mistral, TinyLlama) put a space before the first word of a sequence,
    and would do so before every piece that is tokenized on its own.
    """
    whole = tokenizer.backend_tokenizer.to_str()
    middle = whole.replace('"prepend_scheme":"first"', '"prepend_scheme":"never"')
    if middle == whole:
        return None
    made = Tokenizer.from_str(middle)
    made.encode_special_tokens = True
    made.no_padding()
    made.no_truncation()
    return made
