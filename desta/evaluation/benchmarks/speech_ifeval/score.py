"""Speech-IFEval (Lu et al., arXiv 2505.19037): does a model that hears still follow instructions?

    closed_ended       933 questions with a rule about the form of the answer
    creative_writing   400 tasks with a rule
    chain_of_thought   200 questions "step by step": a judge says whether the answer reasons
    unconstrained      the 933 without their rules, to see what the rules cost (optional)

    IFrate = mean of the first three rates
    forgetting rate = relative change of the IFrate against the bare backbone

A judge also says whether answers to closed-ended and unconstrained questions are right
(`speech_ifeval_judge.py`). Only the rules are scored here, and what the judge replied.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from desta.errors import ConfigError, DataError
from desta.evaluation.benchmarks.speech_ifeval.judge import read_judgement
from desta.evaluation.ifeval.following import (
    Instruction,
    follow_strictly,
)
from desta.evaluation.metrics import Estimate, average, mean
from desta.evaluation.wer import (
    WordErrors,
    count_word_errors,
    normalise_basically,
    word_error_rate,
)
from desta.records import LOCATOR, AudioRef, Message

Section = Literal["closed_ended", "creative_writing", "chain_of_thought", "unconstrained"]
Metric = Literal["wer", "accuracy", "open", "cot"]

SYSTEM_PROMPT = "Follow the given instructions."
MAX_NEW_TOKENS = 2048
"""Greedy decoding, as published."""

NUM_ITEMS: dict[Section, int] = {
    "closed_ended": 933,
    "creative_writing": 400,
    "chain_of_thought": 200,
    "unconstrained": 933,
}
RATED: tuple[Section, ...] = ("closed_ended", "creative_writing", "chain_of_thought")
"""What the IFrate is the mean of."""

GROUPS = {
    "change_case:english_capital": "change_case",
    "change_case:english_lowercase": "change_case",
    "combination:repeat_prompt": "startend",
    "detectable_format:json_format": "json_format",
    "detectable_format:number_bullet_lists": "bullet_lists",
    "detectable_format:title": "wrapping",
    "keywords:existence": "keywords",
    "keywords:forbidden_words": "keywords",
    "length_constraints:number_paragraphs": "length_constraints",
    "length_constraints:number_sentences": "length_constraints",
    "length_constraints:number_words": "length_constraints",
    "startend:end_checker": "startend",
    "startend:quotation": "wrapping",
}
"""The table of the paper: instructions that are reported together."""

FIX = "take the files of the benchmark as they were published"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question about one clip."""

    id: str
    """Section and line, from 0: `closed_ended/17`. Published ids are not kept: some files of
    outputs count them from 0, some from 1."""
    section: Section
    audio: str
    """Path below the folder of audio."""
    description: str
    """What the clip holds, in words; what a text-only model is told instead of hearing it. Empty
    in outputs that do not repeat it."""
    instruction: str
    dataset: str
    """Where the clip is from; questions without an open answer are reported by it."""
    metric: Metric
    instructions: tuple[Instruction, ...] = ()
    label: str | None = None
    """The right answer, or the transcription; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What is to be said of one answer; None where nobody has judged, or understood the judge."""

    id: str
    section: Section
    dataset: str
    instructions: tuple[str, ...]
    followed: tuple[bool, ...]
    """By instruction, strictly; of a chain of thought one flag, the judge's."""
    correct: bool | None
    word_errors: WordErrors | None
    judge_in_form: bool | None
    """Whether the official parser could have read the judge's reply; it stops at others."""
    undecided: str | None
    """Why there is no score."""


def audio_messages(item: Item, root: str | Path = "") -> tuple[Message, ...]:
    """Return what is asked of a model that hears; the audio lies below `root`."""
    return (
        Message(role="system", content=SYSTEM_PROMPT),
        Message(
            role="user",
            content=f"{LOCATOR}\n\n{item.instruction}",
            audios=(AudioRef(audio=str(Path(root, item.audio))),),
        ),
    )


def text_messages(item: Item) -> tuple[Message, ...]:
    """Return what is asked of a text-only model, which reads the description of the clip."""
    return (
        Message(role="system", content=SYSTEM_PROMPT),
        Message(role="user", content=f"Speech Input: {item.description}\n\n{item.instruction}"),
    )


def score_item(item: Item, output: str, judge_reply: str | None = None) -> Score:
    """Score one answer.

    `judge_reply` is a yes or no for chains of thought and for accuracy, the bare transcription for
    word error rate, and None if nobody judged. Rules need none.

    Raises:
        DataError: an instruction is unknown or broken, or a transcription has no label.
    """
    followed = follow_strictly(item.instructions, output, "speech_ifeval", seed=item.id)
    correct: bool | None = None
    in_form: bool | None = None
    word_errors = None
    undecided = None
    if item.metric == "wer":
        if judge_reply is not None:
            if item.label is None:
                raise DataError(f"{item.id} has no label to compare with", fix=FIX)
            word_errors = count_word_errors(
                normalise_basically(item.label), normalise_basically(judge_reply)
            )
    elif item.metric != "open" and judge_reply is not None:
        judgement = read_judgement(judge_reply)
        in_form = judgement.in_form
        correct = judgement.verdict
        undecided = "the judge's reply says neither yes nor no" if correct is None else None
    if item.metric == "cot":
        followed = () if correct is None else (correct,)
        correct = None
    if judge_reply is None and not item.instructions:
        undecided = "nobody judged"
    return Score(
        id=item.id,
        section=item.section,
        dataset=item.dataset,
        instructions=tuple(each.id for each in item.instructions),
        followed=followed,
        correct=correct,
        word_errors=word_errors,
        judge_in_form=in_form,
        undecided=undecided,
    )


def aggregate(scores: Sequence[Score]) -> dict[str, Any]:
    """Return the official figures as a JSON object, each share with its standard error.

    sections: per section `num_items`, `num_missing` (of the published number), `rate` (of the
        answers that are decided), `groups`, `instructions`; `wer` and `accuracy` by data set where
        a judge was asked; `undecided`: [{reason, count, example}]; `num_judge_out_of_form`
    ifrate: null unless every question of the three sections is known to be followed or not
    """
    by_section: dict[Section, list[Score]] = defaultdict(list)
    for score in scores:
        by_section[score.section].append(score)
    sections = {s: _aggregate_section(s, by_section[s]) for s in get_args(Section) if by_section[s]}
    whole = [
        by_section[section]
        for section in RATED
        if sum(bool(s.followed) for s in by_section[section]) == NUM_ITEMS[section]
    ]
    known = len(whole) == len(RATED)
    ifrate = average([_rate(each) for each in whole]).to_json() if known else None
    return {"sections": sections, "ifrate": ifrate}


def forgetting_rate(ifrate: float, reference: float) -> float:
    """Return how much of the bare backbone's IFrate is lost (below 0) or won.

    >>> round(forgetting_rate(0.8923, 0.9253), 4)
    -0.0357

    Raises:
        ConfigError: the reference is not above 0.
    """
    if reference <= 0:
        raise ConfigError(
            f"an IFrate of {reference} cannot be forgotten",
            fix="give the IFrate of the bare backbone, a share above 0",
        )
    return (ifrate - reference) / reference


def _aggregate_section(section: Section, scores: Sequence[Score]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "num_items": len(scores),
        "num_missing": max(0, NUM_ITEMS[section] - len(scores)),
    }
    if any(s.followed for s in scores):
        result["rate"] = _rate(scores).to_json()
    pairs = [(n, f) for s in scores for n, f in zip(s.instructions, s.followed, strict=False)]
    if pairs:
        result["groups"] = _shares((GROUPS.get(name, "other"), flag) for name, flag in pairs)
        result["instructions"] = _shares(pairs)
    if errors := [s.word_errors for s in scores if s.word_errors is not None]:
        result["wer"] = word_error_rate(errors)
    if judged := [(s.dataset, s.correct) for s in scores if s.correct is not None]:
        result["accuracy"] = _shares(judged)
    reasons = Counter(s.undecided for s in scores if s.undecided is not None)
    result["undecided"] = [
        {
            "reason": reason,
            "count": count,
            "example": next(s.id for s in scores if s.undecided == reason),
        }
        for reason, count in reasons.items()
    ]
    result["num_judge_out_of_form"] = sum(s.judge_in_form is False for s in scores)
    return result


def _rate(scores: Sequence[Score]) -> Estimate:
    return mean([all(s.followed) for s in scores if s.followed])


def _shares(pairs: Iterable[tuple[str, bool]]) -> dict[str, dict[str, float]]:
    flags: dict[str, list[bool]] = defaultdict(list)
    for name, flag in pairs:
        flags[name].append(flag)
    return {name: mean(flags[name]).to_json() for name in sorted(flags)}
