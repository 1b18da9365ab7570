"""Messages -> token ids, so that text can never turn into a control token.

The chat template is rendered by the tokenizer. Before that, every control token that stands in
the *content* of a message is replaced by private-use characters; afterwards the rendered text is
cut at the control tokens that remain, which are all the template's own, and what lies between is
put back and tokenized with special-token parsing off.

Templates differ in more than their tokens (docs/decisions/0014): what they say about the date,
about thinking aloud and about a system message is settled here, once for construction, training
and use.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
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
"""What every template is told to be today: the day that Llama 3.1 takes where nobody says one, and
with which the published model was trained. A model must not answer otherwise tomorrow."""
_OPTIONS = {
    "date_string": DATE.strftime("%d %b %Y"),  # Llama 3
    "enable_thinking": False,  # Qwen3, SmolLM3: responses are answers, not thoughts
}
_TODAY = re.compile(r"strftime_now\(\s*(['\"])(.+?)\1\s*\)")  # SmolLM3, Llama 3.2
_SHOWN = 80
"""Characters of a line of a template that an error repeats."""
_GUARD = "\ue000{}\ue001"  # private use area: no tokenizer assigns it a control token
_GUARDED = re.compile(_GUARD.format(r"\d+"))
_CONTENT = "\ue002"


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Tokenize plain text: control tokens in it stay text, and nothing is added around it.

    Raises:
        DataError: half a character stands alone in it.
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
        messages: the conversation; `audios` are not looked at.
        locator: text at which the ids are cut; None if the messages hold no clips.
        add_generation_prompt: end with the header of the assistant's turn.

    Returns:
        Runs of token ids, one more than there are locators.

    Raises:
        DataError: the template of this backbone refuses the messages, or half a character stands
            alone in one.
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
        if before is not None and before.rstrip:  # tokens that swallow the spaces beside them
            piece = piece.lstrip()
        if after is not None and after.lstrip:
            piece = piece.rstrip()
        runs[-1] += encode_text(tokenizer, vocabulary.restore(piece))
    return runs


def encode_conversation(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Tokenize a conversation for a text generator; a clip in it is read as its text.

    That text is tokenized on its own, as in training: no token reaches across the tags around it,
    and control tokens in it stay text.
    """
    texts = [clip.text or NO_TRANSCRIPTION for message in messages for clip in message.audios]
    runs = encode_chat(tokenizer, messages, locator=LOCATOR if texts else None)
    ids = list(runs[0])
    for text, run in zip(texts, runs[1:], strict=True):
        ids += [*encode_text(tokenizer, text), *run]
    return ids


def end_id(tokenizer: Any) -> int:
    """Return the id with which the chat template closes a turn of the assistant.

    That need not be the tokenizer's end token: Gemma closes turns with `<end_of_turn>`, Phi-3 with
    `<|end|>`, and their `<eos>` and `<|endoftext|>` only ever end a document.
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
    """Write a conversation as the backbone's chat template has it.

    A template without a system role (Gemma 2, Mistral 7B v0.1) gets the system message as the
    beginning of the user's first, as those models' own documentation advises.

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
    # some templates drop it without a word
    told = messages[0][0] != "system" or messages[0][1].strip() in rendered
    if (refusal or not told) and [role for role, _ in messages[:2]] == ["system", "user"]:
        (_, system), (_, content), *others = messages
        merged = [("user", f"{system}\n\n{content}"), *others]
        rendered, refusal = _rendered(tokenizer, merged, add_generation_prompt)
    if refusal:
        raise DataError(
            f"the chat template of the backbone refuses the messages: {refusal}",
            fix="let user and assistant take turns, after at most one system message",
        )
    return rendered


def _rendered(
    tokenizer: Any, messages: Sequence[tuple[str, str]], add_generation_prompt: bool
) -> tuple[str, str]:
    """Return the rendered text, and why the template refused (empty where it did not)."""
    template = tokenizer.get_chat_template()
    try:
        text = tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in messages],
            chat_template=_TODAY.sub(lambda match: json.dumps(DATE.strftime(match[2])), template),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **_OPTIONS,
        )
    except TemplateSyntaxError as error:
        line = (template.splitlines() or [""])[error.lineno - 1].strip()
        raise CheckpointError(
            f'the chat template of "{tokenizer.name_or_path}" has a syntax error in line '
            f"{error.lineno}, `{line[:_SHOWN]}`: {error.message}",
            fix="mend its chat_template.jinja, or chat_template in its tokenizer_config.json",
        ) from error
    except TemplateError as error:
        return "", str(error) or type(error).__name__
    return text, ""


@dataclass(frozen=True)
class _Vocabulary:
    """What must not come out of the content of a message."""

    control: frozenset[str]
    guards: dict[str, str]
    """Control token -> what stands for it while the template is rendered."""
    tokens: dict[str, str]
    """The same the other way round."""
    stops: re.Pattern[str] | None
    """Control tokens and the locator."""
    inside: re.Pattern[str] | None
    """Places inside those control tokens that the tokenizer would let into text."""

    def guard(self, text: str) -> str:
        """Replace all control tokens; the locator stays."""
        if self.stops is None:
            return text
        return self.stops.sub(lambda match: self.guards.get(match[0], match[0]), text)

    def restore(self, text: str) -> str:
        """Undo `guard`."""
        return _GUARDED.sub(lambda match: self.tokens.get(match[0], match[0]), text)


@lru_cache(maxsize=8)  # reading thousands of added tokens for every text would take longer
def _vocabulary(tokenizer: Any, template: str, locator: str | None = None) -> _Vocabulary:
    """Read the control tokens of a tokenizer.

    `<think>`, `<tool_call>` and `<|fim_prefix|>` were added to vocabularies, but not as special
    tokens, so parsing them cannot be switched off. Added words of a language (letters and digits
    only) and runs of spaces are text.
    """
    added = tokenizer.added_tokens_decoder.values()
    # `all_special_tokens` alone would miss Llama 3's headers, which no role of the tokenizer names.
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
def _continuing(tokenizer: Any) -> Tokenizer | None:
    """Return a tokenizer for text in the middle of a sequence, if that is another one.

    SentencePiece tokenizers (Mistral, TinyLlama) put a space before the first word of a sequence,
    and would put it before every piece that is tokenized on its own.
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
