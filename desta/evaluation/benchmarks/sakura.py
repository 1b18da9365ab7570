"""SAKURA: one question about what is heard, and one that takes a step of reasoning from there.

Four tracks (animal, emotion, gender, language), 500 clips each with a single-hop and a multi-hop
question (Yang et al., 2025; github.com/ckyang1124/SAKURA). Officially a judge model decides; what
its reply must look like is read as the official script does, which counts every other reply as
wrong. The reading `rule` needs no judge: it is not official.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from desta import audio
from desta.construction.description import describe_clip
from desta.errors import DataError
from desta.evaluation.answered import Answered, why_no_text
from desta.evaluation.baselines import tell
from desta.evaluation.choices import check_offered, named_choices
from desta.evaluation.items import (
    Item,
    Report,
    Score,
    ask,
    check_unique,
    count_notes,
    field_of,
    figure,
    join_notes,
    plain,
    read_published,
    tabulate,
    text_of,
)
from desta.evaluation.metrics import Estimate, average
from desta.records import LOCATOR, Clip

TRACKS = ("Animal", "Emotion", "Gender", "Language")
HOPS = ("single", "multi")
SYSTEM = "Focus on the audio clips and instructions."
"""As DeSTA2.5-Audio was asked; the benchmark itself prescribes no system prompt."""
JUDGE = "judge"
"""Official reading: right if the judge's reply, in the prescribed form, says so."""
LENIENT = "judge, leniently read"
"""Also replies that name their judgement in another form."""
RULE = "rule: letter or text"
"""Without a judge: the answer names the gold option, by letter or text, and no other."""
NO_REPLY = "no reply of a judge"
INVALID = "the judge's reply is not in the official form: counted as wrong"
UNREADABLE = "the judge's reply names no judgement in any form: counted as wrong"

JUDGE_SYSTEM = "You grade answers to multiple-choice questions. You are strict and fair."
JUDGE_PROMPT = """Decide whether the answer below is correct.

The answer is correct only if it settles on exactly one of the listed options, and that option is \
the right one. Naming the option in other words or in another form of the same word is fine. \
Naming no option, or more than one, is incorrect.

Question: [QUESTION]
Right option: [GROUND_TRUTH_ANSWER]
Answer to grade: [MODEL_GENERATED_RESPONSE]

Reply with exactly two lines:
Explanation: <one sentence>
Judgement: <correct or incorrect>"""
"""In our own words; the official text has the same placeholders and can be given instead."""

_SYNONYMS = {"Female": ("woman", "girl"), "Male": ("man", "boy")}
_OFFICIAL = re.compile(r"Explanation: (.*?)\nJudgement: (.*?)(?:\n\n|$)", re.DOTALL)
_JUDGEMENT = re.compile(r"judge?ment\W*(correct|incorrect)\b", re.IGNORECASE)
_LETTER = re.compile(r"\(([a-z])\)", re.IGNORECASE)
_BARE_LETTER = re.compile(
    r"^\W*([a-z])(?:\W*$|[.):]\s)|\b(?:answer|option|choice)(?:\s+is)?\W+([a-z])(?=\W*$|[.,:;)])",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A judge's reply, as the official script reads it."""

    explanation: str
    judgement: str
    counted_as: Literal["correct", "incorrect", "invalid"]


def load_items(root: Path, tracks: Sequence[str] = TRACKS) -> list[Item]:
    """Read the questions: for each clip of each track the single-hop and the multi-hop one.

    Args:
        root: holds `<track>/metadata.json` and `<track>/audio/`, itself or in `data/`.
        tracks: which of them.

    Raises:
        DataError: a file is missing or broken, or an answer has no letter of its options.
    """
    root = root / "data" if (root / "data").is_dir() else root
    items = []
    for track in tracks:
        path = root / track / "metadata.json"
        table = read_published(path)
        if not isinstance(table, dict) or not table:
            raise DataError(f"{path} is not a table of clips", fix="fetch that file again")
        for key, record in table.items():
            clip = root / track / "audio" / Path(key).name
            for hop in HOPS:
                where = f"{path}: {key}"
                question = field_of(record, f"{hop}_instruction", str, where)
                target = field_of(record, f"{hop}_answer", str, where)
                item = _item(track, hop, clip, question, target, where)
                label = field_of(record, "attribute_label", str, where)
                items.append(replace(item, described=tell(item, _describe(track, label, clip))))
    check_unique((item.id for item in items), str(root))
    return items


def parse_judgement(reply: str) -> Judgement:
    """Read a judge's reply as the official script does: any other form is invalid."""
    match = _OFFICIAL.search(reply)
    explanation, judgement = (
        match.groups() if match else ("No extracted explanation", "No extracted judgement")
    )
    return Judgement(
        explanation=explanation, judgement=judgement, counted_as=_counted_as(judgement)
    )


def read_leniently(reply: str) -> Literal["correct", "incorrect"] | None:
    """Return the judgement that a reply names in whatever form, or None.

    >>> read_leniently("**Judgment:** Correct")
    'correct'
    """
    match = _JUDGEMENT.search(reply)
    if not match:
        return None
    return "correct" if match.group(1).lower() == "correct" else "incorrect"


def score_item(item: Item, output: str | None, reply: str | None = None) -> Score:
    """Score an answer by rule and, where a judge has replied, by its judgement.

    Args:
        item: the question.
        output: what the model wrote; None where it is not known.
        reply: what the judge wrote.
    """
    if reply is None:
        return _score(item, output, None, None)
    return _score(item, output, parse_judgement(reply).counted_as, read_leniently(reply))


def aggregate(scores: Sequence[Score], version: str = "unknown") -> Report:
    """Return accuracy by track and hop, and the average over the tracks, for every reading."""
    by_cell = [
        replace(s, groups={**s.groups, "track and hop": " ".join(s.groups.values())})
        for s in scores
    ]
    cells = tabulate(by_cell)
    figures: dict[str, Estimate] = {}
    for reading in (JUDGE, LENIENT, RULE):
        for hop in HOPS:
            by_track = [
                (cell, cell.estimate)
                for cell in cells
                if cell.reading == reading
                and cell.dimension == "track and hop"
                and cell.group.endswith(f" {hop}")
                and cell.estimate
            ]
            figures |= {f"{c.group} ({reading})": figure(e, [c]) for c, e in by_track}
            if by_track:
                mean = average([estimate for _, estimate in by_track])
                figures[f"Average {hop} ({reading})"] = figure(mean, [c for c, _ in by_track])
    return Report(
        benchmark="sakura",
        version=version,
        figures=figures,
        cells=cells,
        notes=count_notes(scores),
    )


def read_answered(
    path: Path, hop: Literal["single", "multi"], items: Sequence[Item] = ()
) -> list[Answered]:
    """Read one of the official scripts' files: answers, or answers with judgements.

    Args:
        path: `{"results": {clip: {instruction, label, response}}}`, or of the judge
            `{"results": {clip: {instruction, label, model_response, Explanation, Judgement}}}`.
        hop: which question of each clip it answers; the file does not say.
        items: the questions, to check that it answers these and no others.

    Raises:
        DataError: the file is missing or broken, or answers other questions.
    """
    value = read_published(path)
    results = value.get("results") if isinstance(value, dict) else None
    if not isinstance(results, dict) or not results:
        raise DataError(f"{path} has no table 'results'", fix="give a file of the official scripts")
    known = {(i.groups["track"], Path(_clip(i)).name, i.question) for i in items}
    answered = []
    for key, record in results.items():
        where = f"{path}: {key}"
        question = field_of(record, "instruction", str, where)
        label = field_of(record, "label", str, where)
        track = _track(key, path)
        if known and (track, Path(key).name, question) not in known:
            raise DataError(
                f"{where} is not a question of this version of the benchmark",
                fix="score it with the questions it was made from",
            )
        item = _item(track, hop, Path(key), question, label, where)
        output = text_of(record, "model_response", "response")
        replies: tuple[str, ...] = ()
        judgement = text_of(record, "Judgement")
        if judgement is not None:
            replies = (f"Explanation: {record.get('Explanation', '')}\nJudgement: {judgement}",)
            lenient = re.search(r"\b(correct|incorrect)\b", judgement, re.IGNORECASE)
            judged = _counted_as(judgement)
            score = _score(item, output, judged, lenient.group().lower() if lenient else None)
        else:
            score = score_item(item, output)
        answered.append(
            Answered(
                item=item,
                output=output,
                replies=replies,
                score=score,
                skipped=why_no_text(record, "model_response", "response"),
            )
        )
    return answered


def score_file(path: Path, hop: Literal["single", "multi"], items: Sequence[Item] = ()) -> Report:
    """Score one of the official scripts' files; see `read_answered`."""
    scores = [answered.score for answered in read_answered(path, hop, items)]
    return aggregate(scores, f"{len(scores)} questions")


def split_options(question: str) -> dict[str, str]:
    """Return letter -> text of the options that a question ends in: `... (a) x (b) y`."""
    options: dict[str, str] = {}
    starts: list[int] = []
    end = len(question)
    for letter in "abcdefgh":
        at = question.find(f"({letter})", starts[-1] if starts else 0, end)
        if at < 0:
            break
        starts.append(at)
    for letter, at, stop in zip("abcdefgh", starts, [*starts[1:], end], strict=False):
        options[letter] = question[at + 3 : stop].strip()
    return options


def _item(track: str, hop: str, clip: Path, question: str, target: str, where: str) -> Item:
    target = target.strip()  # 300 answers of the emotion track begin with a space
    options = split_options(question)
    choices = tuple(f"({letter}) {text}" for letter, text in options.items())
    if target[1:2] not in options or not target.startswith(f"({target[1]})"):
        raise DataError(
            f"{where}: the answer {target!r} has no letter of the options of {question!r}",
            fix="fetch that file again; another version of it may differ",
        )
    return Item(
        id=f"{track}/{clip.name}/{hop}",
        messages=ask(SYSTEM, f"{LOCATOR}\n\n{plain(question)}", [clip]),
        question=question,
        target=target,
        choices=choices,
        groups={"track": track, "hop": hop},
        record={"options": options},
    )


def _describe(track: str, label: str, clip: Path) -> str:
    """Return the seed description; without its times where the clip is missing or broken."""
    try:
        seconds = audio.probe_duration(clip)
    except DataError:
        return f"({track}: {label})"
    known = Clip(
        id=clip.name,
        source="sakura",
        audio=clip.name,
        duration=seconds,
        domain="sound" if track == "Animal" else "speech",
        attributes={track: label},
    )
    return describe_clip(known)


def _track(key: str, path: Path) -> str:
    """Return the track that the path of a clip names, or else that of the results file."""
    named = [part for part in Path(key).parts if part in TRACKS]
    named += [track for track in TRACKS if track.lower() in path.name.lower()]
    return named[0] if named else "unknown track"


def _clip(item: Item) -> str:
    return str(item.messages[-1].audios[0].audio)


def _counted_as(judgement: str) -> Literal["correct", "incorrect", "invalid"]:
    match judgement.lower().strip():
        case "correct":
            return "correct"
        case "incorrect":
            return "incorrect"
        case _:
            return "invalid"


def _score(item: Item, output: str | None, judged: str | None, lenient: str | None) -> Score:
    named = _named_options(item.record["options"], output) if output is not None else None
    gold = item.target[1]
    note = None
    if judged is None:
        note = NO_REPLY
    elif judged == "invalid":
        note = INVALID if lenient is not None else UNREADABLE
    note = join_notes(note, check_offered(item.target, item.choices))
    return Score(
        id=item.id,
        groups=item.groups,
        extracted=", ".join(sorted(named)) if named else None,
        values={
            JUDGE: None if judged is None else float(judged == "correct"),
            LENIENT: None if lenient is None else float(lenient == "correct"),
            RULE: None if named is None else float(named == {gold}),
        },
        note=note,
    )


def _named_options(options: Mapping[str, Any], output: str) -> set[str]:
    """Return the letters of the options that an answer names, by letter or by text."""
    texts = {text: letter for letter, text in options.items()}
    named = {texts[text] for text in named_choices(output, list(texts), _SYNONYMS)}
    letters = {letter.lower() for letter in _LETTER.findall(output)}
    if not letters:
        letters = {(a or b).lower() for a, b in _BARE_LETTER.findall(output)}
    return named | (letters & set(options))
