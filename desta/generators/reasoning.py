"""Separation of reasoning from the response that follows it.

Reasoning models write it into their text, where endpoints may leave it. It is no part of a
response: an audio model trained on it would learn to write it. Only reasoning at the beginning is
removed, so a response may hold the same marks further on; `holds_mark` finds those doubtful ones.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from desta.generators.base import Completion
from desta.model.backbone.chat import render_chat

_NAMES = (
    *("think", "thinking", "thought", "thoughts", "reasoning", "reflection", "analysis"),
    *("scratchpad", "seed:think", "seed:cot_budget_reflect"),
)
_TAGS = {
    **{f"<{name}>": f"</{name}>" for name in _NAMES},  # DeepSeek R1, Qwen3, and most others
    "<|think|>": "<|/think|>",
    "[THINK]": "[/THINK]",  # Magistral
    "<|begin_of_thought|>": "<|end_of_thought|>",  # OpenThinker
    "<|START_THINKING|>": "<|END_THINKING|>",  # Command A Reasoning
    "◁think▷": "◁/think▷",  # Kimi
    "<|channel>thought": "<channel|>",  # Gemma 4
}
_ANSWER_TAGS = {
    "<answer>": "</answer>",  # common after reinforcement learning
    "<response>": "</response>",
    "<|begin_of_solution|>": "<|end_of_solution|>",
    "<|START_RESPONSE|>": "<|END_RESPONSE|>",
}
_HARMONY = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>")
"""Marks of gpt-oss: every message has a channel; that of the answer is `final`."""
_TOKENS = (*_TAGS, *_TAGS.values(), *_ANSWER_TAGS, *_ANSWER_TAGS.values(), *_HARMONY, "<|channel>")
"""Marks that can be tokens of a vocabulary."""
_SPACE = r"[\s\ufeff\u200b]*"


_ROLE = (
    r"(?:(?:<\|im_start\|>|<\|start_header_id\|>|<\|?)?assistant(?:<\|end_header_id\|>|\|?>|:)?)?"
)
"""Beginning of a turn, which some servers leave in the text."""


def _any(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, words))


def _loose(tag: str) -> str:
    """Return a pattern of a mark; a tag like `<think>` may hold spaces and attributes."""
    match = re.fullmatch(r"<(/?)([a-z_:]+)>", tag)
    if match is None:
        return re.escape(tag)
    attributes = "" if match[1] else r"(?:\s+[\w:.-]+\s*=[^<>]*)?"
    return rf"<\s*{match[1]}\s*{match[2]}{attributes}\s*>"


_OPENS, _CLOSES = "|".join(map(_loose, _TAGS)), "|".join(map(_loose, _TAGS.values()))
_OPEN = re.compile(rf"{_SPACE}{_ROLE}{_SPACE}(?P<tag>{_OPENS})(?:\s*(?P=tag))*", re.IGNORECASE)
_PAIRS = [
    (re.compile(_loose(tag), re.IGNORECASE), re.compile(_loose(close), re.IGNORECASE))
    for tag, close in _TAGS.items()
]
_CLOSE_ANY = re.compile(_CLOSES, re.IGNORECASE)
_OPEN_ANY = re.compile(_OPENS, re.IGNORECASE)
_STRAY = re.compile(rf"\s*(?:{_CLOSES})\s*", re.IGNORECASE)
_MARK = re.compile(rf"{_OPENS}|{_CLOSES}|{_any((*_HARMONY, '<|channel>'))}", re.IGNORECASE)
_ANSWER_MARK = re.compile(_any((*_ANSWER_TAGS, *_ANSWER_TAGS.values())), re.IGNORECASE)
_WRAPPED = [
    re.compile(
        rf"\s*{re.escape(tag)}((?:(?!{re.escape(close)}).)*)(?:{re.escape(close)}\s*)?",
        re.IGNORECASE | re.DOTALL,
    )
    for tag, close in _ANSWER_TAGS.items()
]
_CHANNELS = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>")
_CHANNEL = re.compile(
    rf"<\|channel\|>\s*(?P<name>\w*).*?<\|message\|>(?P<text>.*?)(?={_any(_HARMONY)}|$)", re.DOTALL
)
_UNMARKED = re.compile(
    r"\s*analysis(?:(?P<thought>.*?)assistantfinal(?P<answer>.*)|(?P<cut>[A-Z].*))", re.DOTALL
)
"""Channels of gpt-oss without their marks."""


def completion(text: str, *, num_tokens: int, finished: bool, reasoning: str = "") -> Completion:
    """Create a completion from generated text, with the reasoning separated.

    Args:
        text: the generated text.
        num_tokens: tokens of text and reasoning.
        finished: whether it was not cut off.
        reasoning: reasoning that was returned separately.
    """
    thought, answer = separate(text)
    return Completion(
        text=answer,
        num_tokens=num_tokens,
        finished=finished,
        reasoning="\n\n".join(filter(None, (reasoning.strip(), thought))),
    )


def separate(text: str) -> tuple[str, str]:
    r"""Return the reasoning at the beginning of a text, and the answer after it.

    Without an end mark, all is reasoning. Templates that open it in the prompt leave only the end
    mark in the text, which counts between sentences, not inside one.

    >>> separate("<think>A bark, so a dog.</think> A dog.")
    ('A bark, so a dog.', 'A dog.')
    >>> separate("It barks.\n</think>\n\nA dog.")
    ('It barks.', 'A dog.')
    >>> separate("She writes </think> and <think>.")
    ('', 'She writes </think> and <think>.')
    """
    if found := _of_channels(text):
        return found
    thoughts: list[str] = []
    rest = text
    while block := _block(rest, later=bool(thoughts)):
        thought, rest = block
        thoughts.append(thought.strip())
    if not thoughts:
        return "", text
    stray = _CLOSE_ANY.search(rest)
    if stray and _STRAY.fullmatch(rest, stray.start()) and not _OPEN_ANY.search(rest):
        rest = rest[: stray.start()]
    for wrapped in _WRAPPED:
        if match := wrapped.fullmatch(rest):
            rest = match[1]
    return "\n\n".join(filter(None, thoughts)), rest.strip()


def holds_mark(completion: Completion) -> bool:
    """Return whether a mark of reasoning is left in a response, part of which may be reasoning.

    >>> holds_mark(Completion(text="Sure! <think>Hm.</think> A dog.", num_tokens=9, finished=True))
    True
    """
    text = completion.text
    if not any(character in text for character in "<[◁"):
        return False
    return bool(_MARK.search(text) or (completion.reasoning and _ANSWER_MARK.search(text)))


def _block(text: str, *, later: bool) -> tuple[str, str] | None:
    """Return the reasoning at the beginning of a text and the rest; None if there is none.

    Args:
        text: the remaining text.
        later: whether reasoning was found before; then only a complete block counts.
    """
    if begin := _OPEN.match(text):
        text = text[begin.end() :]
        close = next(close for tag, close in _PAIRS if tag.fullmatch(begin["tag"]))
        end = close.search(text) or _border(text)
        return (text[: end.start()], text[end.end() :]) if end else (text or begin["tag"], "")
    end = _border(text)
    if end is None or (later and not _OPEN.match(text, end.end())):
        return None
    return text[: end.start()], text[end.end() :]


def _border(text: str) -> re.Match[str] | None:
    """Return the match of an end mark without a beginning."""
    end = _CLOSE_ANY.search(text)
    if end is None or _OPEN_ANY.search(text, 0, end.start()):
        return None
    return end if _parts(text[: end.start()], text[end.end() :]) else None


def _parts(before: str, after: str) -> bool:
    """Return whether a mark between two texts separates them, and is not a word in a sentence."""
    last, follows = before.rstrip(" \t")[-1:], after.lstrip()
    if last in ("", "\n"):
        return True
    if not follows:
        return False  # a stray end mark after an answer, or a missing answer
    gap, first = after[: -len(follows)], follows[0]
    if "\n" in gap and (gap.count("\n") > 1 or not first.islower()):
        return True
    touches = before[-1].isalnum() and after[0].isalnum()
    return touches or (last in ".?!…:。！？" and not first.islower() and first not in "\"'`”’»).,;")


def _of_channels(text: str) -> tuple[str, str] | None:
    """Return reasoning and answer of a text in the format of gpt-oss; None for other texts."""
    if unmarked := _UNMARKED.fullmatch(text):
        thought = unmarked["thought"] or unmarked["cut"] or ""
        return thought.strip(), (unmarked["answer"] or "").strip()
    if not _CHANNELS.match(text):
        return None
    thoughts: list[str] = []
    answers: list[str] = []
    for match in _CHANNEL.finditer(text):
        (answers if match["name"] == "final" else thoughts).append(match["text"].strip())
    if not thoughts and not answers:  # cut off in a mark
        thoughts = [text.strip()]
    return "\n\n".join(filter(None, thoughts)), "\n\n".join(answers)


class MarkingTokenizer:
    """Tokenizer whose decoded text keeps the marks of reasoning that are special tokens.

    Without those of Magistral and gpt-oss, reasoning would be left unmarked.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a tokenizer with a chat template."""
        known = {word.casefold() for word in _TOKENS}
        self._tokenizer = tokenizer
        self._marks = {
            index: str(token)
            for index, token in tokenizer.added_tokens_decoder.items()
            if token.special and str(token).casefold() in known
        }
        prompt = render_chat(tokenizer, [("user", "x")]).rstrip()
        self.opened = next((tag for tag in _TAGS if prompt.endswith(tag)), "")
        """Mark of reasoning at the end of the template's generation prompt."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text of ids."""
        return "".join(self._pieces(ids, skip_special_tokens))

    def _pieces(self, ids: Sequence[int], skip: bool) -> Iterator[str]:
        for mark, run in groupby(ids, key=self._marks.get):
            if mark is None or not skip:
                yield self._tokenizer.decode(list(run), skip_special_tokens=skip)
            else:
                yield from (mark for _ in run)
