"""Contents of an endpoint's message: text, reasoning, finish reason."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

FINISHED = frozenset(
    {
        *("stop", "eos", "eos_token", "stop_sequence", "stop_token", "stop_string", "end_turn"),
        *("end", "end_of_text", "complete", "completed", "finish", "finished", "done", "success"),
        *("eos_token_id", "eos_id", "eot", "eot_id", "im_end", "end_of_turn", "stop_token_id"),
        *("stopped", "matched_stop", "normal"),
    }
)
FILTERED = frozenset(
    {
        *("content_filter", "content_filtered", "safety", "recitation", "blocklist", "spii"),
        *("prohibited_content", "refusal", "guardrail_intervened", "sensitive"),
    }
)
CUT_OFF = re.compile(r"length|limit|max|context|trunc|incomplete|tool|function")
BROKEN = re.compile(r"error|abort|cancel|timeout|timed_out|fail|interrupt|insufficient")
"""Values of `finish_reason` of endpoints and the servers behind them (see `read_ending`).

A tool call is not a complete answer either.
"""
_SAYS_NOTHING = frozenset({"null", "none", "unspecified", "other", "unknown", "undefined"})

_TEXTS = ("text", "content", "value", "parts", "summary")
_REASONING = re.compile(
    r"(?:reason(?:ing)?|think(?:ing)?|thoughts?)(?:_?(?:content|text|details|blocks?|summary))?",
    re.IGNORECASE,
)
"""Fields in which endpoints return reasoning."""
_REASONING_KIND = re.compile("think|thought|reason", re.IGNORECASE)
"""Types of content parts that are reasoning."""


def read_message(message: Mapping[str, Any], choice: Mapping[str, Any]) -> tuple[str, str]:
    """Return text and reasoning of a message; the reasoning can also be a field of its choice.

    If several fields hold reasoning, they mostly repeat each other, and the longest is returned.

    >>> read_message({"content": "A dog.", "thought": "A bark."}, {})
    ('A dog.', 'A bark.')

    Raises:
        TypeError: its content is neither text nor parts nor empty.
    """
    text, reasoning = read_parts(message.get("content"))
    if not text and "content" not in message and "parts" in message:
        text, reasoning = read_parts(message["parts"])
    fields = [
        _reasoning(value)
        for holder in (message, choice)
        for name, value in holder.items()
        if _REASONING.fullmatch(name)
    ]
    return text, reasoning or max(fields, key=len, default="")


def read_parts(content: Any) -> tuple[str, str]:
    """Return text and reasoning of the content of a message: text, a list of parts, or None.

    >>> read_parts([{"type": "thinking", "thinking": "A bark."}, {"type": "text", "text": "A"}])
    ('A', 'A bark.')

    Raises:
        TypeError: it is none of these.
    """
    if not isinstance(content, str | dict | list | None):
        raise TypeError
    parts = content if isinstance(content, list) else [content]
    if isinstance(content, Mapping) and isinstance(content.get("parts"), list):
        parts = content["parts"]
    pieces = [list(_pieces(part, False)) for part in parts]
    texts = (words for part in pieces for thought, words in part if not thought)
    thoughts = ("".join(words for thought, words in part if thought) for part in pieces)
    return "".join(texts), "\n".join(filter(None, thoughts))


def _reasoning(value: Any) -> str:
    return "".join(words for _, words in _pieces(value, True))


def _pieces(value: Any, thought: bool) -> Iterator[tuple[bool, str]]:
    """Yield the texts nested in a value, each with a flag: whether it is reasoning."""
    if isinstance(value, str):
        yield thought, value
    elif isinstance(value, list):
        for item in value:
            yield from _pieces(item, thought)
    elif isinstance(value, dict):
        kind = value.get("type")
        thought = thought or value.get("thought") is True
        thought = thought or (isinstance(kind, str) and bool(_REASONING_KIND.search(kind)))
        inner = next((value[name] for name in _TEXTS if value.get(name)), None)
        yield from _pieces(inner, thought)
        if inner is None or not thought:
            for name in value:
                if _REASONING.fullmatch(name):
                    yield from _pieces(value[name], True)


def read_ending(value: Any) -> str:
    """Return the finish reason in lower case; empty if there is none.

    >>> read_ending("FINISH_REASON_STOP"), read_ending({"type": "max-tokens"}), read_ending(None)
    ('stop', 'max_tokens', '')
    """
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, Mapping):
        value = value.get("type") or value.get("reason")
    if not isinstance(value, str):
        return ""
    text = re.sub(r"[-\s]+", "_", value.strip().strip("<|>/").lower())
    text = re.sub(r"^finish_?reason[._]", "", text)
    return "" if text in _SAYS_NOTHING else text


def is_known(ending: str) -> bool:
    """Return whether a finish reason is known."""
    known = not ending or ending in FINISHED or ending in FILTERED
    return known or bool(CUT_OFF.search(ending) or BROKEN.search(ending))
