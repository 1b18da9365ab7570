"""Speech-IFEval (Lu et al., arXiv 2505.19037): instructions about form, beside a question."""

from pathlib import Path

from desta.evaluation.base import About, Benchmark, Judging, PublishedForm, Result, Verdict
from desta.evaluation.benchmarks.speech_ifeval import files, score
from desta.evaluation.formats import fault_of_record
from desta.evaluation.judge.templates import Template
from desta.evaluation.recipe import BenchmarkFiles
from desta.model.backbone.sampling import Sampling

_VERDICT = 'End with a line of its own: "Result: YES" or "Result: NO".'
TEMPLATES = {
    "cot": Template(
        system=(
            "You read a request and an answer to it. Does the answer show any reasoning, such as "
            "steps, intermediate results or an analysis? Say YES if it holds anything of that kind "
            f"beyond the bare answer, and NO if it only states the answer. {_VERDICT}"
        ),
        question="Request: {instruction}\n\nAnswer: {response}",
    ),
    "accuracy": Template(
        system=(
            "You read a question, its correct answer and the answer of a model. Does the model's "
            f"answer agree with the correct one, as an answer to that question? {_VERDICT}"
        ),
        question="Request: {instruction}\n\nCorrect answer: {label}\n\nAnswer: {response}",
    ),
    "wer": Template(
        system=(
            "You read the answer of a model that was asked to write down what is said in a "
            "recording. Copy the part of it that is the transcription, letter by letter, without "
            "introduction, comment or explanation, and write nothing else."
        ),
        question="Request: {instruction}\n\nAnswer: {response}",
    ),
}
"""In our own words."""


def _find_fault(result: Result) -> str | None:
    name, _, line = result.id.partition("/")
    section = next((each for each in files.FILES if each == name), None)
    if section is None or not (line.isascii() and line.isdigit()):
        return f"id is {result.id!r}, not a section and a line"
    record, file = result.item.record, Path(files.FILES[section])
    return fault_of_record(lambda: files.make_item(section, int(line), record, file, Path()))


def _judge_kind(result: Result) -> str | None:
    metric = str(result.item.record["metric"])
    judged = metric == "cot" or (metric in ("wer", "accuracy") and result.item.target)
    return metric if judged else None


def _judge_values(result: Result) -> dict[str, str]:
    return {
        "{instruction}": result.item.question,
        "{label}": result.item.target,
        "{response}": result.output or "",
    }


def _read_verdict(kind: str, reply: str) -> Verdict:
    if kind == "wer":  # the reply is the transcription
        return Verdict(in_form=bool(reply), read=bool(reply))
    decision = score.read_decision(reply)
    return Verdict(in_form=decision.in_form, read=decision.verdict is not None)


BENCHMARK = Benchmark(
    name="speech_ifeval",
    about=About(
        title="instructions about form, beside a question about a clip",
        data="folder of eval_data, or a Hub id with `data.revision`; clips in `data.audio`",
        subsets="closed_ended, creative_writing, chain_of_thought; unconstrained if named",
        metrics="instruction following rate; forgetting rate against the system oracle",
        judge=(
            "for reasoning and, if wanted, for what is right: `desta score FOLDER --judge RECIPE`"
        ),
        published="JSON Lines of answers, of rules and of a judge",
        licence="none stated; its checkers are Apache-2.0",
        source="github.com/kehanlu/Speech-IFEval (Lu et al., 2025)",
        example=(
            "desta eval speech_ifeval --data Speech-IFEval --model MODEL --set data.audio=CLIPS"
        ),
    ),
    data=BenchmarkFiles,
    load=files.load,
    score=score.score,
    aggregate=score.aggregate,
    max_new_tokens=2048,  # as published, with greedy decoding
    official=(score.FOLLOWED, score.CORRECT, score.WER),
    titles={score.WER: "word error rate"},
    dimensions=("section", "dataset"),
    find_fault=_find_fault,
    key=files.question_key,
    optional=files.load_optional,
    published=PublishedForm(
        read=files.read_published,
        any_order=True,
        words="speech ifeval rule llm tmp closed ended questions creative writing chain of thought "
        "woprompt",
    ),
    judging=Judging(
        templates=TEMPLATES,
        kind=_judge_kind,
        values=_judge_values,
        read=_read_verdict,
        sampling=Sampling(temperature=1.0, max_new_tokens=1024),
    ),
    details=score.forgetting,
    detail_rows=score.forgetting_rows,
)
