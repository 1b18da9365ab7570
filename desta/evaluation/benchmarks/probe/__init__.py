"""The benchmark `probe`: can a text model read descriptions of sound?

It is asked before any audio exists, to choose a backbone: what the description of a clip states,
what follows from it, and what it does not tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from desta.evaluation.base import About, Benchmark, Item, Result
from desta.evaluation.baselines import NO_AUDIO
from desta.evaluation.benchmarks.probe.files import read_questions
from desta.evaluation.benchmarks.probe.score import ACCURACY, FORM, find_fault, score
from desta.evaluation.metrics import Report, find
from desta.evaluation.tabulate import count_notes, tabulate


@dataclass(frozen=True, kw_only=True)
class ProbeData:
    """Data section of the recipe of `probe`."""

    path: Path | None = None
    """File of other questions, rows of question, options and answer; null: those of the package."""


def load(data: ProbeData) -> list[Item]:
    """Return the questions.

    Raises:
        DataError: the file is missing or broken.
    """
    if data.path is not None:
        return read_questions(data.path)
    # with tokenizers, which the table of benchmarks does without
    from desta.evaluation.benchmarks.probe.questions import make_questions

    return make_questions()


def aggregate(results: Sequence[Result]) -> Report:
    """Return the accuracy over all questions, and by kind, form, attribute and domain."""
    cells = tabulate(results)
    total = find(cells, ACCURACY).estimate
    return Report(
        headline={ACCURACY: total} if total else {}, cells=cells, remarks=count_notes(results)
    )


BENCHMARK = Benchmark(
    name="probe",
    about=About(
        title="what descriptions of sound state, imply and leave open, asked in text",
        data="none, or a file of other questions: rows of question, options and answer",
        metrics="accuracy for each kind of question, form of answer and attribute",
        licence="-",
        source="this package",
        example="desta eval probe --backbone MODEL",
    ),
    data=ProbeData,
    load=load,
    score=score,
    aggregate=aggregate,
    max_new_tokens=48,
    systems=(NO_AUDIO,),
    transcribe=False,
    titles={FORM: "prescribed form"},
    dimensions=("kind",),
    find_fault=find_fault,
)
