"""VoiceBench (Chen et al., arXiv 2410.17196): spoken questions to a voice assistant."""

from desta.evaluation.base import About, Benchmark, Item, Judging, PublishedForm, Result, Verdict
from desta.evaluation.benchmarks.voicebench import files, parse, score
from desta.evaluation.formats import fault_of_record
from desta.evaluation.ifeval.following import read_instructions
from desta.evaluation.judge.templates import Template
from desta.evaluation.recipe import BenchmarkFiles
from desta.model.backbone.sampling import Sampling
from desta.schema import find_json_fault

_SYSTEM = "You grade the responses of voice assistants. You are strict and fair."
OPEN = Template(
    system=_SYSTEM,
    question="""A user spoke to a voice assistant. Rate how well its response serves the user.

5: relevant, accurate, to the point, exactly what is needed
4: relevant, accurate and concise
3: relevant and mostly accurate, but wordy or with needless detail
2: somewhat relevant, but inaccurate or incomplete
1: irrelevant, wrong, or no answer to what was said

[Instruction]: {prompt}
[Response]: {response}

Reply with the number alone.""",
)
QA = Template(
    system=_SYSTEM,
    question="""Question: {prompt}
Reference answer: {reference}
Candidate answer: {response}

Judged by the reference, is the candidate answer correct? Reply with "Yes" or "No" alone.""",
)
"""Both in our own words; the official texts have the same placeholders and can be given instead."""


def _scale(item: Item, metric: str) -> tuple[float, float]:
    """Return the worst and the best score of an item."""
    return (1.0, 5.0) if score.SUBSETS[item.groups["subset"]].kind == "open" else (0.0, 1.0)


def _key(item: Item) -> tuple[object, ...]:
    """Return what tells an item from others in whatever row: subset and split, and its words."""
    return item.id.rpartition("/")[0], " ".join(item.question.split())


def _find_fault(result: Result) -> str | None:
    item = result.item
    subset = score.SUBSETS.get(item.groups["subset"])
    if subset is None:
        return f"groups.subset is {item.groups['subset']!r}, which is no subset"
    for name in ("prompt", "id") if subset.kind == "bbh" else ("prompt",):
        if fault := find_json_fault(item.record.get(name), str, f"record.{name}"):
            return fault
    if subset.kind == "bbh" and item.target.lower() not in parse.REFERENCES:
        return f"target is {item.target!r}, which is none of {', '.join(parse.REFERENCES)}"
    return fault_of_record(lambda: _read_record(item, subset.kind))


def _read_record(item: Item, kind: score.Kind) -> None:
    if kind == "bbh":
        parse.bbh_task(item.record["id"])
    elif kind == "ifeval":
        given = item.record.get("kwargs")
        kept = [each or {} for each in given] if isinstance(given, list) else given
        read_instructions({**item.record, "kwargs": kept})


def _judge_kind(result: Result) -> str | None:
    kind = score.SUBSETS[result.item.groups["subset"]].kind
    return kind if kind in ("open", "qa") else None


def _judge_values(result: Result) -> dict[str, str]:
    record = result.item.record
    return {
        "{prompt}": str(record["prompt"]),
        "{reference}": str(record.get("reference", "")),
        "{response}": result.output or "",
    }


def _read_verdict(kind: str, reply: str) -> Verdict:
    read = (
        parse.read_rating(reply) is not None if kind == "open" else reply.lower() in ("yes", "no")
    )
    return Verdict(in_form=read, read=read)


BENCHMARK = Benchmark(
    name="voicebench",
    about=About(
        title="spoken questions to a voice assistant, in nine columns",
        data="folder of SUBSET/*.parquet, the Hub id, or `hub`",
        subsets=", ".join(score.SUBSETS),
        metrics="a score from 1 to 5 or from 0 to 100 for each column, and their mean",
        judge=(
            "for alpacaeval_full, commoneval, wildvoice and sd-qa: "
            "`desta score FOLDER --judge RECIPE`"
        ),
        published="JSON Lines of answers, or of a judge",
        licence="Apache-2.0; the corpora in it have terms of their own",
        source="github.com/MatthewCYM/VoiceBench (Chen et al., 2024)",
        example="desta eval voicebench --data hub --model MODEL --set 'data.subsets=[bbh, mmsu]'",
    ),
    data=BenchmarkFiles,
    load=files.load,
    score=score.score,
    aggregate=score.aggregate,
    max_new_tokens=2048,
    official=(score.OFFICIAL,),
    titles={score.LOWER_BOUND: "lower bound"},
    shares=False,
    scale=_scale,
    dimensions=("subset",),
    find_fault=_find_fault,
    key=_key,
    optional=files.load_optional,
    published=PublishedForm(read=files.read_published, words="voicebench"),
    judging=Judging(
        templates={"open": OPEN, "qa": QA},
        kind=_judge_kind,
        values=_judge_values,
        read=_read_verdict,
        sampling=Sampling(temperature=0.5, top_p=0.95, max_new_tokens=1024),
        num_replies=3,
    ),
)
