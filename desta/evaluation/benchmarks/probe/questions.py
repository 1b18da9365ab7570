"""The questions: each shows a seed description as construction does, and asks about it.

Four kinds, of equally many questions. The answer is `stated` in the description, can be `inferred`
from it, or is `absent`, so that "unknown" is right; or it is stated and a `format` is prescribed.
All are drawn with fixed seeds, so that the set is the same everywhere.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from desta.construction.config import ConstructConfig
from desta.construction.description import describe_clip
from desta.construction.messages import generation_messages, training_messages
from desta.construction.prompts import Prompt
from desta.evaluation.base import Item
from desta.evaluation.benchmarks.probe.cases import (
    ABSENT,
    INFERRED,
    Case,
    MakeCase,
    stated_case,
)
from desta.evaluation.benchmarks.probe.clips import draw_clip
from desta.evaluation.benchmarks.probe.vocabulary import ATTRIBUTES, KINDS, UNKNOWN
from desta.generators.base import as_text
from desta.records import NO_TRANSCRIPTION, AudioRef, Clip, Message

PER_KIND = 160
"""Questions of each kind."""
_MOST_OPTIONS = 4  # beside "unknown"

Asked = Sequence[tuple[str, Sequence[str]]]
"""Right answers, each with all answers that there could be."""
Checks = Sequence[tuple[str, Mapping[str, Any]]]
"""Ids of instructions (`desta.evaluation.ifeval`), each with its arguments."""


def make_questions() -> list[Item]:
    """Return all questions, kind by kind; no two are equal."""
    items = []
    for kind, make in zip(KINDS, _MAKERS, strict=True):
        found: dict[str, Item] = {}
        number = 0
        while len(found) < PER_KIND:
            item = make(random.Random(f"probe/{kind}/{number}"), number)
            found.setdefault(item.question, item)
            number += 1
        items += [
            replace(item, id=f"{kind}/{place:03}", groups={"kind": kind, **item.groups})
            for place, item in enumerate(found.values())
        ]
    return items


def _stated(draw: random.Random, number: int) -> Item:
    # every attribute has come up once after sixteen questions
    return _ask(draw, stated_case(draw, number), closed=number // 16 % 2 == 0)


def _one_of(cases: Sequence[MakeCase]) -> Callable[[random.Random, int], Item]:
    """Return a function that takes the cases in turn, every second round with options."""

    def make(draw: random.Random, number: int) -> Item:
        round, place = divmod(number, len(cases))
        return _ask(draw, cases[place](draw, round), closed=round % 2 == 0)

    return make


def _ask(draw: random.Random, case: Case, *, closed: bool) -> Item:
    """Return a question with options, or without."""
    if not (closed or case.closed):
        question = f'{case.question} If it cannot be told, answer "unknown".'
        asked = [(case.target, (*case.values, UNKNOWN))]
        return _item(case.clip, case.attribute, question, asked, form="open")
    right = [] if case.target == UNKNOWN else [case.target]
    wrong = [value for value in case.values if value != case.target]
    options = right + draw.sample(wrong, min(len(wrong), _MOST_OPTIONS - len(right)))
    draw.shuffle(options)
    choices = (*options, UNKNOWN)
    question = f"{case.question} Choose one of these: {', '.join(choices)}."
    asked = [(case.target, choices)]
    item = _item(case.clip, case.attribute, question, asked, form="closed")
    return replace(item, choices=choices)


def _item(
    clip: Clip, attribute: str, question: str, asked: Asked, *, form: str, checks: Checks = ()
) -> Item:
    """Return the item of a question, still without its id and kind."""
    description = describe_clip(clip)
    heard = AudioRef(audio=clip.audio, text=NO_TRANSCRIPTION)
    prompt = Prompt(text=question, kind="ask")
    request = generation_messages(
        training_messages(ConstructConfig.system, prompt, heard), description
    )
    return Item(
        id="",
        messages=tuple(Message(role=m.role, content=as_text(m)) for m in request),
        question=f"{description} {question}",
        target=", ".join(target for target, _ in asked),
        groups={"form": form, "attribute": attribute, "domain": clip.domain},
        record={
            "asked": [{"target": target, "values": list(values)} for target, values in asked],
            "instruction_id_list": [id for id, _ in checks],
            "kwargs": [dict(arguments) for _, arguments in checks],
        },
    )


_WORDS = ("Gender", "Language", "Emotion", "Noise level", "Tempo")
"""Attributes of which every value is one word."""
_SEVERAL: Sequence[Sequence[str]] = (
    ("Language", "Gender"),
    ("Gender", "Emotion"),
    ("Language", "Gender", "Emotion"),
)
"""Attributes that are asked for together."""


def _one_word(names: Sequence[str]) -> tuple[str, Checks]:
    limit = {"num_words": 2, "relation": "less than"}
    return "Answer in one word.", [("length_constraints:number_words", limit)]


def _upper_case(names: Sequence[str]) -> tuple[str, Checks]:
    return "Answer in capital letters only.", [("change_case:english_capital", {})]


def _lower_case(names: Sequence[str]) -> tuple[str, Checks]:
    return "Answer without any capital letter.", [("change_case:english_lowercase", {})]


def _quotes(names: Sequence[str]) -> tuple[str, Checks]:
    return "Put your whole answer in double quotes.", [("startend:quotation", {})]


def _json(names: Sequence[str]) -> tuple[str, Checks]:
    keys = [f'"{name.casefold()}"' for name in names]
    words = f"Answer with a JSON object that has the keys {' and '.join(keys)}, and nothing else."
    there = ("keywords:existence", {"keywords": keys})
    return words, [("detectable_format:json_format", {}), there]


def _list(names: Sequence[str]) -> tuple[str, Checks]:
    words = f"Answer with a list of {len(names)} lines, each beginning with a dash."
    return words, [("detectable_format:number_bullet_lists", {"num_bullets": len(names)})]


_FORMS: Mapping[str, Callable[[Sequence[str]], tuple[str, Checks]]] = {
    "one word": _one_word,
    "upper case": _upper_case,
    "lower case": _lower_case,
    "quotes": _quotes,
    "JSON": _json,
    "list": _list,
}
"""Form of an answer -> its prescription for these attributes, and what checks it."""


def _prescribe(draw: random.Random, number: int) -> Item:
    """Return a question about what is stated whose answer has a prescribed form."""
    round, place = divmod(number, len(_FORMS))
    form, prescribe = [*_FORMS.items()][place]
    if form in ("JSON", "list"):
        names = _SEVERAL[round % len(_SEVERAL)]
        clip = draw_clip(draw, "speech", names)
        nouns = " and the ".join(name.casefold() for name in names)
        question = f"What are the {nouns} of the speaker?"
    else:
        names = (_WORDS[round % len(_WORDS)],)
        clip = draw_clip(draw, "music" if "Tempo" in names else "speech", names)
        question = draw.choice(ATTRIBUTES[names[0]].wordings)
    words, checks = prescribe(names)
    asked = [(clip.attributes[name], ATTRIBUTES[name].values) for name in names]
    attribute = " and ".join(names)
    return _item(clip, attribute, f"{question} {words}", asked, form=form, checks=checks)


_MAKERS = (_stated, _one_of(INFERRED), _one_of(ABSENT), _prescribe)
"""In the order of `KINDS`."""
