"""SAKURA: one question about what is heard, and one that takes a step of reasoning from there.

Four tracks (animal, emotion, gender, language), 500 clips each with a single-hop and a multi-hop
question (Yang et al., 2025; github.com/ckyang1124/SAKURA). Officially a judge model decides; what
its reply must look like is read as the official script does, which counts every other reply as
wrong. The metric `rule` needs no judge: it is not official.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from desta import audio
from desta.construction.description import describe_clip
from desta.errors import ConfigError, DataError
from desta.evaluation.base import (
    About,
    Benchmark,
    Item,
    Judging,
    PublishedForm,
    ReadOptions,
    Result,
    Score,
    Verdict,
    form_messages,
    plain,
)
from desta.evaluation.baselines import tell
from desta.evaluation.judge.templates import Template
from desta.evaluation.metrics import Estimate, Report, average, check_offered, figure, named_choices
from desta.evaluation.published_files import (
    answered,
    check_unique,
    field_of,
    read_each,
    read_json_values,
    text_of,
    why_no_text,
)
from desta.evaluation.recipe import BenchmarkFiles
from desta.evaluation.tabulate import count_notes, join_notes, tabulate
from desta.model.backbone.sampling import Sampling
from desta.records import LOCATOR, Clip
from desta.schema import find_json_fault

TRACKS = ("Animal", "Emotion", "Gender", "Language")
HOPS = ("single", "multi")
SYSTEM = "Focus on the audio clips and instructions."
"""As DeSTA2.5-Audio was asked; the benchmark itself prescribes no system prompt."""
JUDGE = "judge"
"""Official metric: right if the judge's reply, in the prescribed form, says so."""
LENIENT = "judge_lenient"
"""Also replies that name their judgement in another form."""
RULE = "rule"
"""Without a judge: the answer names the gold option, by letter or text, and no other."""
TITLES = {LENIENT: "judge, leniently read", RULE: "rule: letter or text"}
NO_REPLY = "no reply of a judge"
INVALID = "the judge's reply is not in the official form: counted as wrong"
UNREADABLE = "the judge's reply names no judgement in any form: counted as wrong"

TEMPLATE = Template(
    system="You grade answers to multiple-choice questions. You are strict and fair.",
    question="""Decide whether the answer below is correct.

The answer is correct only if it settles on exactly one of the listed options, and that option is \
the right one. Naming the option in other words or in another form of the same word is fine. \
Naming no option, or more than one, is incorrect.

Question: [QUESTION]
Right option: [GROUND_TRUTH_ANSWER]
Answer to grade: [MODEL_GENERATED_RESPONSE]

Reply with exactly two lines:
Explanation: <one sentence>
Judgement: <correct or incorrect>""",
)
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


def load(files: BenchmarkFiles) -> list[Item]:
    """Read the questions."""
    return load_items(files.place(), files.chosen(TRACKS))


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
        table = read_json_values(path)
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


def score(item: Item, output: str, replies: Sequence[str] = ()) -> Score:
    """Score an answer by rule and, where a judge has replied, by its last judgement."""
    if not replies:
        return _score(item, output, None, None)
    return _score(
        item, output, parse_judgement(replies[-1]).counted_as, read_leniently(replies[-1])
    )


def aggregate(results: Sequence[Result]) -> Report:
    """Return accuracy by track and hop, and the average over the tracks, for every metric."""
    cells = tabulate([_with_track_and_hop(result) for result in results])
    figures: dict[str, Estimate] = {}
    for metric in (JUDGE, LENIENT, RULE):
        for hop in HOPS:
            by_track = [
                (cell, cell.estimate)
                for cell in cells
                if cell.metric == metric
                and cell.dimension == "track and hop"
                and cell.group.endswith(f" {hop}")
                and cell.estimate
            ]
            figures |= {f"{c.group} ({metric})": figure(e, [c]) for c, e in by_track}
            if by_track:
                mean = average([estimate for _, estimate in by_track])
                figures[f"Average {hop} ({metric})"] = figure(mean, [c for c, _ in by_track])
    return Report(
        headline=figures,
        cells=cells,
        remarks=count_notes(results),
    )


def read_published(paths: Sequence[Path], options: ReadOptions) -> list[Result]:
    """Read files of the official scripts: answers, or answers with judgements.

    They are `{"results": {clip: {instruction, label, response}}}`, or of the judge
    `{"results": {clip: {instruction, label, model_response, Explanation, Judgement}}}`.

    Raises:
        ConfigError: a file's name does not tell which question of each clip it answers, and the
            options do not either.
        DataError: a file is missing or broken.
    """
    return read_each(paths, lambda path: _read_file(path, options.subset or _hop_of(path)))


def _hop_of(path: Path) -> str | None:
    hops = [hop for hop in HOPS if re.search(rf"(?<![a-z]){hop}(?![a-z])", path.name.lower())]
    return hops[0] if len(hops) == 1 else None


def _read_file(path: Path, hop: str | None) -> list[Result]:
    if hop not in HOPS:
        raise ConfigError(
            f"{path.name} does not tell which question of each clip it answers",
            fix=f"give --subset {' or --subset '.join(HOPS)}",
        )
    value = read_json_values(path)
    table = value.get("results") if isinstance(value, dict) else None
    if not isinstance(table, dict) or not table:
        raise DataError(f"{path} has no table 'results'", fix="give a file of the official scripts")
    return [_read_answer(key, record, hop, path) for key, record in table.items()]


def _read_answer(key: str, record: Any, hop: str, path: Path) -> Result:
    where = f"{path}: {key}"
    question = field_of(record, "instruction", str, where)
    label = field_of(record, "label", str, where)
    item = _item(_track(key, path), hop, Path(key), question, label, where)
    output = text_of(record, "model_response", "response")
    judgement = text_of(record, "Judgement")
    judged = lenient = None
    replies: tuple[str, ...] = ()
    if judgement is not None:
        replies = (f"Explanation: {record.get('Explanation', '')}\nJudgement: {judgement}",)
        named = re.search(r"\b(correct|incorrect)\b", judgement, re.IGNORECASE)
        judged, lenient = _counted_as(judgement), named.group().lower() if named else None
    return answered(
        item,
        output,
        lambda item, output, _: _score(item, output, judged, lenient),
        replies=replies,
        instead=why_no_text(record, "model_response", "response"),
    )


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
        messages=form_messages(SYSTEM, f"{LOCATOR}\n\n{plain(question)}", [clip]),
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


def _counted_as(judgement: str) -> Literal["correct", "incorrect", "invalid"]:
    match judgement.lower().strip():
        case "correct":
            return "correct"
        case "incorrect":
            return "incorrect"
        case _:
            return "invalid"


def _score(item: Item, output: str, judged: str | None, lenient: str | None) -> Score:
    named = _named_options(item.record["options"], output)
    gold = item.target[1]
    note = None
    if judged is None:
        note = NO_REPLY
    elif judged == "invalid":
        note = INVALID if lenient is not None else UNREADABLE
    note = join_notes(note, check_offered(item.target, item.choices))
    return Score(
        extracted=", ".join(sorted(named)) if named else None,
        values={
            JUDGE: None if judged is None else float(judged == "correct"),
            LENIENT: None if lenient is None else float(lenient == "correct"),
            RULE: float(named == {gold}),
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


def _with_track_and_hop(result: Result) -> Result:
    groups = result.item.groups
    both = {**groups, "track and hop": " ".join(groups.values())}
    return replace(result, item=replace(result.item, groups=both))


def _find_fault(result: Result) -> str | None:
    options = result.item.record.get("options")
    if fault := find_json_fault(options, dict[str, str], "record.options"):
        return fault
    target = result.item.target
    if target[1:2] not in (options or {}):
        return f"target is {target!r}, which has no letter of record.options"
    return None


def _judge_values(result: Result) -> dict[str, str]:
    return {
        "[QUESTION]": result.item.question,
        "[GROUND_TRUTH_ANSWER]": result.item.target,
        "[MODEL_GENERATED_RESPONSE]": result.output or "",
    }


def _read_verdict(kind: str, reply: str) -> Verdict:
    in_form = parse_judgement(reply).counted_as != "invalid"
    return Verdict(in_form=in_form, read=in_form or read_leniently(reply) is not None)


BENCHMARK = Benchmark(
    name="sakura",
    about=About(
        title="a question about what is heard, and one that reasons from there",
        data="folder of data/TRACK/metadata.json and data/TRACK/audio",
        subsets="Animal, Emotion, Gender, Language",
        metrics="accuracy in single and multiple hops, and multiple hops given single ones",
        judge="official: `desta score FOLDER --judge RECIPE`; without one, by a rule",
        published="JSON of answers, single or multi by its name or by --subset",
        licence="none stated",
        source="github.com/ckyang1124/SAKURA (Yang et al., 2025)",
        example="desta eval sakura --data SAKURA --model MODEL",
    ),
    data=BenchmarkFiles,
    load=load,
    score=score,
    aggregate=aggregate,
    max_new_tokens=512,
    official=(JUDGE,),
    titles=TITLES,
    dimensions=("track", "hop"),
    find_fault=_find_fault,
    published=PublishedForm(
        read=read_published, words="sakura single multi hop animal emotion gender language"
    ),
    judging=Judging(
        templates={"sakura": TEMPLATE},
        kind=lambda result: "sakura",
        values=_judge_values,
        read=_read_verdict,
        sampling=Sampling(top_p=0.9, max_new_tokens=1024),
    ),
)
