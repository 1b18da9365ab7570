"""Messages -> token ids, so that text can never turn into a control token.

The chat template is rendered by the tokenizer. Before that, every control token that stands in
the *content* of a message is replaced by private-use characters; afterwards the rendered text is
cut at the control tokens that remain, which are all the template's own, and what lies between is
put back and tokenized with special-token parsing off.
"""

import re
from collections.abc import Sequence
from typing import Any

from desta.records import Message

_GUARD = "\ue000{}\ue001"  # private use area: no tokenizer assigns it a control token


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Tokenize plain text: control tokens in it stay text, and nothing is added around it."""
    if not text:
        return []
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)


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
    """
    control = sorted(set(tokenizer.all_special_tokens) - {locator}, key=len, reverse=True)
    guards = {token: _GUARD.format(number) for number, token in enumerate(control)}
    guarded = [
        {"role": m.role, "content": _replace(m.content, guards)}  # the template sees no tokens
        for m in messages
    ]
    rendered: str = tokenizer.apply_chat_template(
        guarded, tokenize=False, add_generation_prompt=add_generation_prompt
    )
    restore = {guard: token for token, guard in guards.items()}
    stops = control if locator is None else [locator, *control]
    pieces = re.split(f"({'|'.join(map(re.escape, stops))})", rendered) if stops else [rendered]

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
        runs[-1] += encode_text(tokenizer, _replace(piece, restore))
    return runs


def _replace(text: str, table: dict[str, str]) -> str:
    if not table:
        return text
    pattern = "|".join(map(re.escape, sorted(table, key=len, reverse=True)))
    return re.sub(pattern, lambda match: table[match[0]], text)
