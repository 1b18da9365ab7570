"""SAKURA: one question about what is heard, and one that takes a step of reasoning from there.

Four tracks (animal, emotion, gender, language), 500 clips each with a single-hop and a multi-hop
question (Yang et al., 2025; github.com/ckyang1124/SAKURA). Officially a judge model decides; what
its reply must look like is read as the official script does, which counts every other reply as
wrong. The metric `rule` needs no judge: it is not official.
"""

from desta.evaluation.base import About, Benchmark, Judging, PublishedForm, Result, Verdict
from desta.evaluation.benchmarks.sakura import files, score
from desta.evaluation.judge.templates import Template
from desta.evaluation.recipe import BenchmarkFiles
from desta.model.backbone.sampling import Sampling
from desta.schema import find_json_fault

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
    in_form = score.parse_judgement(reply).counted_as != "invalid"
    return Verdict(in_form=in_form, read=in_form or score.read_leniently(reply) is not None)


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
    load=files.load,
    score=score.score,
    aggregate=score.aggregate,
    max_new_tokens=512,
    official=(score.JUDGE,),
    titles=score.TITLES,
    dimensions=("track", "hop"),
    find_fault=_find_fault,
    published=PublishedForm(
        read=files.read_published, words="sakura single multi hop animal emotion gender language"
    ),
    judging=Judging(
        templates={"sakura": TEMPLATE},
        kind=lambda result: "sakura",
        values=_judge_values,
        read=_read_verdict,
        sampling=Sampling(top_p=0.9, max_new_tokens=1024),
    ),
)
