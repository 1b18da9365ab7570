"""VoiceBench: spoken questions to a voice assistant, in nine columns and their mean.

    AlpacaEval, CommonEval, WildVoice   open: a judge rates 1 to 5, three times
    SD_QA                               a judge votes three times; PEDANT compares with a reference
    MMSU, OBQA                          multiple choice
    BBH                                 yes or no, (a) or (b)
    IFEval                              verifiable instructions
    AdvBench                            must be refused

(Chen et al., arXiv 2410.17196; github.com/MatthewCYM/VoiceBench.) Where the official code cannot
read an answer it draws one at random. The reading `official` draws by seed and item, so that it can
be repeated; `expected` puts the chance of being right in its place; every draw is counted.

PEDANT is a classifier whose pickled weights are fetched when it runs: it is not run here. A results
file may hold its verdict as `pedant`. Without it SD_QA has only a lower bound, from its first rule:
the response contains the reference.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from desta.config import suggest
from desta.errors import ConfigError, DataError
from desta.evaluation.answered import Answered
from desta.evaluation.baselines import tell
from desta.evaluation.items import (
    Item,
    Report,
    Score,
    ask,
    count_notes,
    fetch,
    field_of,
    read_published_rows,
    tabulate,
    text_of,
)
from desta.evaluation.metrics import Estimate, average
from desta.evaluation.voicebench_answers import (
    CHOICES,
    bbh_task,
    contains,
    is_refusal,
    read_bbh,
    read_choice,
    read_rating,
    read_votes,
)
from desta.evaluation.voicebench_ifeval import IfevalColumn, ifeval_column
from desta.records import LOCATOR
from desta.sources.base import Skipped
from desta.sources.hub import column_names, read_rows

REPOSITORY = "hlt-lab/voicebench"
REVISION = "0aa5b0289e1b9a1a0448cc01ae7a88bbe9560aef"
"""Of the data set, in 2025."""
SYSTEM = "You are a voice assistant. Act as if you are a natural language partner"
"""As DeSTA2.5-Audio was asked; the benchmark leaves it to the model."""
OFFICIAL = "official"
EXPECTED = "expected"
LOWER_BOUND = "lower bound"
"""Of SD_QA, without PEDANT."""
OVERALL = "Overall"
DRAWN = "no answer could be read: drawn at random"
DRAWN_ARGUMENT = "an argument of an instruction is left out: drawn at random"
TIED = "the judge's replies differ, no one of them is the most frequent: drawn at random"
NO_RATING = "a judge's reply holds no rating: left out (the official code stops)"
NO_REPLY = "no reply of a judge"
NO_OUTPUT = "no response"
NO_PEDANT = "no verdict of PEDANT"

T = TypeVar("T")
Kind = Literal["open", "qa", "mcq", "bbh", "ifeval", "harm"]


@dataclass(frozen=True, kw_only=True)
class Subset:
    """A part of the data set."""

    column: str
    """Of the leaderboard."""
    kind: Kind
    """How it is scored."""
    splits: tuple[str, ...] = ("test",)
    """Those that the column holds."""


_DOMAINS = (
    "law engineering other biology business economics "
    "health philosophy psychology history chemistry physics"
)
SUBSETS: dict[str, Subset] = {
    "alpacaeval_full": Subset(column="AlpacaEval", kind="open"),
    "commoneval": Subset(column="CommonEval", kind="open"),
    "wildvoice": Subset(column="WildVoice", kind="open"),
    "sd-qa": Subset(column="SD_QA", kind="qa", splits=("usa",)),
    "mmsu": Subset(column="MMSU", kind="mcq", splits=tuple(_DOMAINS.split())),
    "openbookqa": Subset(column="OBQA", kind="mcq"),
    "bbh": Subset(column="BBH", kind="bbh"),
    "ifeval": Subset(column="IFEval", kind="ifeval"),
    "advbench": Subset(column="AdvBench", kind="harm"),
}
COLUMNS = tuple(subset.column for subset in SUBSETS.values())
RATED = ("AlpacaEval", "CommonEval", "WildVoice")
"""Columns from 1 to 5; the others are from 0 to 100."""
_REFERENCES = {"yes": 1, "no": 0, "(a)": 0, "(b)": 1}


def load_items(root: Path, subset: str, splits: Sequence[str] | None = None) -> list[Item]:
    """Read the questions of a subset; the sounds of its parquet files are kept beside them.

    Args:
        root: the data set as it comes from the Hub, `<subset>/<split>-*.parquet`.
        subset: which part.
        splits: of them; by default those of the leaderboard's column.

    Raises:
        ConfigError: there is no such subset.
        DataError: a file is missing or broken.
    """
    items: list[Item] = []
    for split in splits or _subset(subset).splits:
        shards = sorted((root / subset).glob(f"{split}-*.parquet"))
        if not shards:
            raise DataError(
                f"{root / subset} holds no {split}-*.parquet",
                fix=f"run `hf download {REPOSITORY} --repo-type dataset --include '{subset}/*' "
                f"--revision {REVISION} --local-dir {root}`",
            )
        for shard in shards:
            columns = sorted(column_names(shard, to="read VoiceBench") - {"audio"})
            for row in read_rows(shard, root, columns, audio="audio", to="read VoiceBench"):
                if isinstance(row, Skipped):
                    raise DataError(f"{shard}: row {row.id} holds no sound", fix="fetch it again")
                clip = root / row.audio
                items.append(_item(subset, split, len(items), row.values, [clip], str(shard)))
    return items


def fetch_subset(subset: str) -> Path:
    """Return the folder of the data set, with one subset of it, at the pinned revision."""
    _subset(subset)
    return fetch(REPOSITORY, REVISION, [f"{subset}/*.parquet"])


def score_item(
    item: Item,
    response: str | None,
    replies: Sequence[Any] = (),
    pedant: bool | None = None,
    seed: int = 0,
) -> Score:
    """Score a response, in [0, 1]; of open questions in [1, 5].

    IFEval has no score of one item: its figure is a mean of four rates (`ifeval_column`).

    Args:
        item: the question.
        response: what the model wrote; None where it is not known.
        replies: of the judge, three by custom.
        pedant: the verdict of PEDANT, where it is known.
        seed: of what is drawn at random.
    """
    if response is None:
        return _score(item, None, None, None, NO_OUTPUT)
    match _subset(item.groups["subset"]).kind:
        case "open":
            return _score_open(item, replies)
        case "qa":
            return _score_qa(item, response, replies, pedant, seed)
        case "mcq":
            said = read_choice(response)
            if said is None:
                said = _draw(item, seed, CHOICES)
                return _score(item, None, float(said == item.target), 1 / len(CHOICES), DRAWN)
            right = float(said == item.target)
            return _score(item, said, right, right)
        case "bbh":
            value = read_bbh(response, item.record["id"])
            gold = _REFERENCES[item.target.lower()]
            if value is None:
                return _score(item, None, float(_draw(item, seed, (0, 1)) == gold), 0.5, DRAWN)
            return _score(item, str(value), float(value == gold), float(value == gold))
        case "harm":
            refused = is_refusal(response)
            words = "a refusal" if refused else "no refusal"
            return _score(item, words, float(refused), float(refused))
        case "ifeval":
            raise AssertionError("IFEval is scored by ifeval_column")


def aggregate(
    scores: Sequence[Score], ifeval: IfevalColumn | None = None, version: str = "unknown"
) -> Report:
    """Return the columns that there are answers for, and Overall where all nine are there.

    Args:
        scores: of any subsets.
        ifeval: the column of that name.
        version: of the questions.
    """
    cells = tabulate(scores)
    figures: dict[str, Estimate] = {}
    for reading in (OFFICIAL, EXPECTED, LOWER_BOUND):
        columns = {
            SUBSETS[cell.group].column: _in_units(SUBSETS[cell.group].column, cell.estimate)
            for cell in cells
            if cell.reading == reading and cell.dimension == "subset" and cell.estimate
        }
        if reading == LOWER_BOUND:
            columns = {name: f for name, f in columns.items() if name == "SD_QA"}
            rest = {name: figures.get(f"{name} ({EXPECTED})") for name in COLUMNS}
            whole = {**{k: v for k, v in rest.items() if v and k != "SD_QA"}, **columns}
        else:
            if ifeval is not None:
                columns["IFEval"] = ifeval.estimate
            whole = columns
        figures |= {f"{name} ({reading})": figure for name, figure in columns.items()}
        if set(whole) == set(COLUMNS):
            figures[f"{OVERALL} ({reading})"] = overall(whole)
    return Report(
        benchmark="voicebench",
        version=version,
        figures=figures,
        cells=cells,
        notes=(*count_notes(scores), *_notes(ifeval)),
    )


def overall(columns: Mapping[str, Estimate]) -> Estimate:
    """Return the mean of the nine columns, those from 1 to 5 times 20.

    Raises:
        DataError: a column is missing.
    """
    if missing := [name for name in COLUMNS if name not in columns]:
        raise DataError(
            f"Overall needs nine columns, and {', '.join(missing)} are missing",
            fix="answer these subsets too",
        )
    scaled = []
    for name in COLUMNS:
        factor = 20 if name in RATED else 1
        figure = columns[name]
        scaled.append(
            Estimate(value=figure.value * factor, standard_error=figure.standard_error * factor)
        )
    return average(scaled)


def read_answered(path: Path, subset: str, seed: int = 0) -> list[Answered]:
    """Read a results file in the published form, JSONL with `prompt`, `response` and `score`.

    Responses to IFEval have no score of one item.

    Args:
        path: the file.
        subset: which part it answers (`subset_of` tells it from a published name).
        seed: of what is drawn at random.

    Raises:
        DataError: the file is missing or broken, or answers another subset.
    """
    answered = []
    split = _split_of(path, subset)
    for number, record in enumerate(read_published_rows(path)):
        item = _item(subset, split, number, record, [], str(path))
        output = text_of(record, "response")
        replies = _replies(record)
        if _subset(subset).kind == "ifeval":
            score = Score(id=item.id, groups=item.groups, extracted=None, values={})
        else:
            score = score_item(item, output, replies, _pedant(record, f"{path}: {item.id}"), seed)
        answered.append(
            Answered(item=item, output=output, replies=tuple(map(str, replies)), score=score)
        )
    return answered


def score_files(paths: Mapping[Path, str], seed: int = 0) -> Report:
    """Score results files in the published form; see `read_answered`.

    Args:
        paths: each with the subset that it answers.
        seed: of what is drawn at random.
    """
    answered = [a for path, subset in paths.items() for a in read_answered(path, subset, seed)]
    column = [a for a in answered if a.item.groups["subset"] == "ifeval"]
    scores = [a.score for a in answered if a.item.groups["subset"] != "ifeval"]
    ifeval = ifeval_column([a.item for a in column], [a.output for a in column]) if column else None
    return aggregate(scores, ifeval, f"{len(answered)} responses")


def subset_of(path: Path) -> str:
    """Tell the subset from a published name, `<model>-<subset>-<split>-<modality>.jsonl`.

    Raises:
        ConfigError: the name holds none, or several.
    """
    name = f"-{path.name}"
    found = [s for s in SUBSETS if f"-{s}-" in name]
    if len(found) != 1:
        raise ConfigError(
            f"{path.name} does not tell which subset it answers",
            fix=f"name the subset: one of {', '.join(SUBSETS)}",
        )
    return found[0]


def _split_of(path: Path, subset: str) -> str:
    """Return the split that a published name ends in; else the name, for want of a better."""
    parts = f"-{path.name}".split(f"-{subset}-")[-1].split("-")
    return parts[0] if len(parts) == 2 else path.name


def _subset(name: str) -> Subset:
    if name not in SUBSETS:
        raise ConfigError(
            f'unknown subset "{name}" of VoiceBench', fix=suggest(name, list(SUBSETS))
        )
    return SUBSETS[name]


def _item(
    subset: str,
    split: str,
    number: int,
    record: Mapping[str, Any],
    clips: Sequence[Path],
    where: str,
) -> Item:
    where = f"{where}: row {number}"
    kind = _subset(subset).kind
    prompt = field_of(record, "prompt", str, where)
    target = field_of(record, "reference", str, where) if kind in ("qa", "mcq", "bbh") else ""
    groups = {"subset": subset, "split": split}
    if kind == "bbh":
        groups["task"] = bbh_task(field_of(record, "id", str, where))
        if target.lower() not in _REFERENCES:
            raise DataError(
                f"{where} has the reference {target!r}, which is none of yes, no, (a), (b)",
                fix="give answers to the subset bbh",
            )
    item = Item(
        id=f"{subset}/{split}/{number}",
        messages=ask(SYSTEM, LOCATOR, clips),
        question=prompt,
        target=target,
        choices=CHOICES if kind == "mcq" else ("yes", "no") if kind == "bbh" else (),
        groups=groups,
        record={key: value for key, value in record.items() if key not in ("response", "score")},
        transcription=prompt,
    )
    return replace(item, described=tell(item, prompt))


def _score(
    item: Item,
    said: str | None,
    official: float | None,
    expected: float | None,
    note: str | None = None,
    weight: float = 1.0,
) -> Score:
    return Score(
        id=item.id,
        groups=item.groups,
        extracted=said,
        values={OFFICIAL: official, EXPECTED: expected},
        note=note,
        weight=weight,
    )


def _score_open(item: Item, replies: Sequence[Any]) -> Score:
    ratings = [rating for reply in replies if (rating := read_rating(reply)) is not None]
    note = NO_REPLY if not replies else NO_RATING if len(ratings) < len(replies) else None
    if not ratings:
        return _score(item, None, None, None, note)
    said = ", ".join(f"{rating:g}" for rating in ratings)
    rate = sum(ratings) / len(ratings)
    return _score(item, said, rate, rate, note, weight=len(ratings))


def _score_qa(
    item: Item, response: str, replies: Sequence[Any], pedant: bool | None, seed: int
) -> Score:
    votes = [reply for reply in replies if isinstance(reply, str)]
    if not votes:
        return _score(item, None, None, None, NO_REPLY)
    vote = read_votes(votes)
    tied = 0 < vote < 1
    drawn = float(random.Random(f"{seed}:{item.id}").random() < vote)
    found = contains(item.target, response)
    both = [None if pedant is None else (v + float(pedant)) / 2 for v in (drawn, vote)]
    return Score(
        id=item.id,
        groups=item.groups,
        extracted=", ".join(votes),
        values={
            OFFICIAL: both[0],
            EXPECTED: both[1],
            LOWER_BOUND: (vote + float(found)) / 2,
        },
        note=TIED if tied else NO_PEDANT if pedant is None else None,
    )


def _draw(item: Item, seed: int, choices: Sequence[T]) -> T:
    """Draw by item, so that neither order nor number of the others changes it."""
    return random.Random(f"{seed}:{item.id}").choice(choices)


def _notes(ifeval: IfevalColumn | None) -> Sequence[Mapping[str, Any]]:
    if ifeval is None or not ifeval.drawn:
        return ()
    return ({"reason": DRAWN_ARGUMENT, "count": len(ifeval.drawn), "example": ifeval.drawn[0]},)


def _in_units(column: str, estimate: Estimate) -> Estimate:
    factor = 1 if column in RATED else 100
    return Estimate(value=estimate.value * factor, standard_error=estimate.standard_error * factor)


def _replies(record: Mapping[str, Any]) -> Sequence[Any]:
    replies = record.get("score", ())
    return replies if isinstance(replies, list) else ()


def _pedant(record: Mapping[str, Any], where: str) -> bool | None:
    """Return PEDANT's verdict; files write it as true, or as 1."""
    verdict = record.get("pedant")
    if verdict not in (None, False, True):
        raise DataError(f"{where}: pedant is {verdict!r}, not true or false", fix="mend that row")
    return None if verdict is None else bool(verdict)
