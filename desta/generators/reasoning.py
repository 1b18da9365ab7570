"""Reasoning, told apart from the answer that follows it.

Models that reason write it into their text, and endpoints leave it there or not. It is no part of
a response: nobody asked for it, and a model that hears would learn to write it. Only what stands
at the beginning is taken, so an answer may hold the same marks further on; `holds_mark` tells of
those, which are in doubt.
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
    "<answer>": "</answer>",  # as many that were trained by reinforcement
    "<response>": "</response>",
    "<|begin_of_solution|>": "<|end_of_solution|>",
    "<|START_RESPONSE|>": "<|END_RESPONSE|>",
}
_HARMONY = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>")
"""Marks of gpt-oss: every message goes to a channel, and the answer to `final`."""
_TOKENS = (*_TAGS, *_TAGS.values(), *_ANSWER_TAGS, *_ANSWER_TAGS.values(), *_HARMONY, "<|channel>")
"""What a vocabulary may have as a token."""
_SPACE = r"[\s\ufeff\u200b]*"


_ROLE = (
    r"(?:(?:<\|im_start\|>|<\|start_header_id\|>|<\|?)?assistant(?:<\|end_header_id\|>|\|?>|:)?)?"
)
"""Begin of a turn, where a server leaves it in the text."""


def _any(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, words))


def _loose(tag: str) -> str:
    """Return a pattern of a mark; one like `<think>` may have spaces and attributes in it."""
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
"""Channels of gpt-oss whose marks were left out."""


def completion(text: str, *, num_tokens: int, finished: bool, reasoning: str = "") -> Completion:
    """Return what a model wrote, its reasoning apart.

    Args:
        text: all that it wrote as an answer.
        num_tokens: of both.
        finished: whether it came to its end.
        reasoning: what is known to be that already.
    """
    thought, answer = separate(text)
    return Completion(
        text=answer,
        num_tokens=num_tokens,
        finished=finished,
        reasoning="\n\n".join(filter(None, (reasoning.strip(), thought))),
    )


def separate(text: str) -> tuple[str, str]:
    r"""Return the reasoning at the beginning of a text, and the answer behind it.

    Where it is not closed, all is reasoning. Templates that open it in the prompt leave only its
    end in the text: that counts where it stands between sentences, not in one.

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
    """Return whether a mark of reasoning is left in a response: part of it may be none.

    >>> holds_mark(Completion(text="Sure! <think>Hm.</think> A dog.", num_tokens=9, finished=True))
    True
    """
    text = completion.text
    if not any(character in text for character in "<[◁"):
        return False
    return bool(_MARK.search(text) or (completion.reasoning and _ANSWER_MARK.search(text)))


def _block(text: str, *, later: bool) -> tuple[str, str] | None:
    """Return the reasoning with which a text begins and what follows; None if there is none.

    Args:
        text: what is left.
        later: whether reasoning was found before; only a further block follows an end then.
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
    """Return the end of a block that no beginning belongs to."""
    end = _CLOSE_ANY.search(text)
    if end is None or _OPEN_ANY.search(text, 0, end.start()):
        return None
    return end if _parts(text[: end.start()], text[end.end() :]) else None


def _parts(before: str, after: str) -> bool:
    """Return whether a mark between two texts parts them, and is no word of a sentence."""
    last, follows = before.rstrip(" \t")[-1:], after.lstrip()
    if last in ("", "\n"):
        return True
    if not follows:
        return False  # a stray end behind an answer, or an answer that never came
    gap, first = after[: -len(follows)], follows[0]
    if "\n" in gap and (gap.count("\n") > 1 or not first.islower()):
        return True
    touches = before[-1].isalnum() and after[0].isalnum()
    return touches or (last in ".?!…:。！？" and not first.islower() and first not in "\"'`”’»).,;")


def _of_channels(text: str) -> tuple[str, str] | None:
    """Return reasoning and answer of a text in the format of gpt-oss; None if it is in no such."""
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
    """Decodes ids as a tokenizer does, and keeps the marks of reasoning where they are tokens.

    Special tokens are no text. Those that mark reasoning (Magistral, gpt-oss) would leave it
    behind without a mark.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Take a tokenizer with a chat template."""
        known = {word.casefold() for word in _TOKENS}
        self._tokenizer = tokenizer
        self._marks = {
            index: str(token)
            for index, token in tokenizer.added_tokens_decoder.items()
            if token.special and str(token).casefold() in known
        }
        prompt = render_chat(tokenizer, [("user", "x")]).rstrip()
        self.opened = next((tag for tag in _TAGS if prompt.endswith(tag)), "")
        """Mark of reasoning with which the template has the model begin."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text of ids."""
        return "".join(self._pieces(ids, skip_special_tokens))

    def _pieces(self, ids: Sequence[int], skip: bool) -> Iterator[str]:
        for mark, run in groupby(ids, key=self._marks.get):
            if mark is None or not skip:
                yield self._tokenizer.decode(list(run), skip_special_tokens=skip)
            else:
                yield from (mark for _ in run)
