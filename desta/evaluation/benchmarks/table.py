"""The table of benchmarks: how each is read, scored and summed up."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from desta.config import suggest
from desta.errors import ConfigError, DataError
from desta.evaluation.base import Benchmark, Result
from desta.evaluation.benchmarks import dynamic_superb, mmau, sakura
from desta.evaluation.benchmarks.attributes import ATTRIBUTES
from desta.evaluation.benchmarks.speech_ifeval import files as speech_ifeval_files
from desta.evaluation.benchmarks.speech_ifeval import items as speech_ifeval_items
from desta.evaluation.benchmarks.speech_ifeval import score as speech_ifeval
from desta.evaluation.benchmarks.transcription import score as transcription
from desta.evaluation.benchmarks.voicebench import files as voicebench_files
from desta.evaluation.benchmarks.voicebench import score as voicebench
from desta.evaluation.benchmarks.voicebench.ifeval import ifeval_column
from desta.evaluation.items import Item, Report, Score
from desta.evaluation.recipe import BenchmarkFiles
from desta.files import UNWRITABLE

HUB = "hub"
"""As `data`: every part from its own place on the Hub, at the commit that is pinned here."""


def find_benchmark(name: str) -> Benchmark:
    """Return a benchmark.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f'unknown benchmark "{name}"', fix=suggest(name, list(BENCHMARKS)))
    return BENCHMARKS[name]


def load_questions(benchmark: Benchmark, data: str, answered: Sequence[Item] = ()) -> list[Item]:
    """Return what somebody's answers are held against.

    Args:
        benchmark: what was answered.
        data: folder, file or Hub id of its questions.
        answered: what was; parts that are asked only by name are among the questions where it
            holds answers to them.
    """
    files = BenchmarkFiles(path=data)
    asked = benchmark.load(files)
    return [*asked, *benchmark.optional(files, answered)] if benchmark.optional else asked


def rescore(benchmark: Benchmark, result: Result) -> Result:
    """Return a result scored anew, with what a judge has replied."""
    if result.output is None:
        return result
    return result.scored(benchmark.score(result.item, result.output, result.replies))


def _load_mmau(layout: mmau.Layout, files: BenchmarkFiles) -> list[Item]:
    return mmau.load_items(files.place([*layout.files, "**"]), layout, files.audio)


def _score_mmau(layout: mmau.Layout, item: Item, output: str, replies: Sequence[str]) -> Score:
    return mmau.score_item(item, output, layout=layout)


def _sum_up_mmau(layout: mmau.Layout, results: Sequence[Result], version: str) -> Report:
    return mmau.aggregate(_scores(results), version, layout)


def _load_sakura(files: BenchmarkFiles) -> list[Item]:
    return sakura.load_items(files.place(), files.chosen(sakura.TRACKS))


def _score_sakura(item: Item, output: str, replies: Sequence[str]) -> Score:
    return sakura.score_item(item, output, replies[-1] if replies else None)


def _load_dynamic_superb(files: BenchmarkFiles) -> list[Item]:
    known = {instance.name: instance for instance in dynamic_superb.phase1()}
    chosen = files.chosen(list(known))
    if not files.subsets:
        chosen = [name for name in chosen if known[name].in_paper]
    if files.path == HUB:
        folders = {name: dynamic_superb.fetch_instance(known[name]) for name in chosen}
    else:
        folders = {name: Path(files.path, name) for name in chosen}
        missing = [name for name, folder in folders.items() if not folder.is_dir()]
        if missing:
            raise DataError(
                f"{files.path} has no folder for {len(missing)} of {len(chosen)} instances, "
                f"for example {missing[0]}",
                fix=f"name those that are there as `data.subsets`, or give data: {HUB}",
            )
    return [
        item
        for name, folder in folders.items()
        for item in dynamic_superb.load_items(folder, known[name])
    ]


def _optional_dynamic_superb(files: BenchmarkFiles, answered: Sequence[Item]) -> list[Item]:
    later = {instance.name for instance in dynamic_superb.phase1() if not instance.in_paper}
    named = tuple(sorted(later & {item.groups["instance"] for item in answered}))
    return _load_dynamic_superb(replace(files, subsets=named)) if named else []


def _score_dynamic_superb(item: Item, output: str, replies: Sequence[str]) -> Score:
    return dynamic_superb.score_item(item, output)


def _load_voicebench(files: BenchmarkFiles) -> list[Item]:
    chosen = files.chosen(list(voicebench.SUBSETS))
    return _load_splits(files, dict.fromkeys(chosen))


def _optional_voicebench(files: BenchmarkFiles, answered: Sequence[Item]) -> list[Item]:
    splits = {item.groups.get("split"): item.groups["subset"] for item in answered}
    others = {
        subset: [split for split in found.others if splits.get(split) == subset]
        for subset, found in voicebench.SUBSETS.items()
    }
    return _load_splits(files, {subset: these for subset, these in others.items() if these})


def _load_splits(files: BenchmarkFiles, splits: Mapping[str, Sequence[str] | None]) -> list[Item]:
    if files.path == HUB:
        roots = {subset: voicebench_files.fetch_subset(subset) for subset in splits}
    else:
        root = files.place([f"{s}/*.parquet" for s in splits], voicebench_files.REVISION)
        roots = dict.fromkeys(splits, root)
    return [
        item
        for subset, these in splits.items()
        for item in voicebench_files.load_items(roots[subset], subset, these)
    ]


def _score_voicebench(item: Item, output: str, replies: Sequence[str]) -> Score:
    if _is_ifeval(item):  # it has rates of all items, and no score of one
        return Score(id=item.id, groups=item.groups, extracted=None, values={})
    return voicebench.score_item(item, output, replies)


def _sum_up_voicebench(results: Sequence[Result], version: str) -> Report:
    rest = [r for r in results if not _is_ifeval(r)]
    asked = [r for r in results if _is_ifeval(r)]
    answered = [r for r in asked if r.skipped is None]
    column = None
    if answered:
        found = ifeval_column([r.item for r in answered], [r.output for r in answered])
        column = replace(found, estimate=replace(found.estimate, num_items=len(asked)))
    return voicebench.aggregate(_scores(rest), column, version)


def _is_ifeval(asked: Item | Result) -> bool:
    return asked.groups["subset"] == "ifeval"


def _load_speech_ifeval(files: BenchmarkFiles) -> list[Item]:
    folder = files.place(speech_ifeval_files.PATTERNS)
    asked = speech_ifeval_files.load_items(folder)
    sections = files.chosen(list(speech_ifeval_files.FILES))
    if not files.subsets:
        sections = list(speech_ifeval.RATED)
    root = files.audio or folder
    return [speech_ifeval_items.to_item(a, root) for a in asked if a.section in sections]


def _optional_speech_ifeval(files: BenchmarkFiles, answered: Sequence[Item]) -> list[Item]:
    named = {item.groups["section"] for item in answered}.difference(speech_ifeval.RATED)
    return _load_speech_ifeval(replace(files, subsets=tuple(sorted(named)))) if named else []


def _load_transcription(files: BenchmarkFiles) -> list[Item]:
    path = files.place()
    return transcription.load_items(path, files.audio or path.parent)


def _score_transcription(item: Item, output: str, replies: Sequence[str]) -> Score:
    return transcription.score_item(item, output)


def _sum_up(
    aggregate: Callable[..., Report],
) -> Callable[[Sequence[Result], str], Report]:
    return lambda results, version: aggregate(_scores(results), version)


def _scores(results: Sequence[Result]) -> list[Score]:
    return [result.score for result in results]


def _version(items: Sequence[Item]) -> str:
    """Name questions and right answers by their hash: their authors give them no version."""
    lines = sorted(f"{item.id}\t{item.question}\t{item.target}" for item in items)
    text = "\n".join(lines).encode(errors=UNWRITABLE)
    digest = hashlib.sha256(text).hexdigest()[:12]
    return f"{len(items)} items ({digest})"


def _mmau_like(layout: mmau.Layout) -> Benchmark:
    return _suite(
        name=layout.name,
        load=partial(_load_mmau, layout),
        score=partial(_score_mmau, layout),
        aggregate=partial(_sum_up_mmau, layout),
        version=mmau.version,
        max_new_tokens=512,
        official=(layout.output, mmau.STRIPPED),
    )


def _suite(**fields: Any) -> Benchmark:
    return Benchmark(data=BenchmarkFiles, **({"version": _version} | fields))


BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        ATTRIBUTES,
        _mmau_like(mmau.MMAU),
        _mmau_like(mmau.MMAR),
        _suite(
            name="sakura",
            load=_load_sakura,
            score=_score_sakura,
            aggregate=_sum_up(sakura.aggregate),
            max_new_tokens=512,
            official=(sakura.JUDGE,),
        ),
        _suite(
            name="dynamic_superb",
            load=_load_dynamic_superb,
            score=_score_dynamic_superb,
            optional=_optional_dynamic_superb,
            aggregate=_sum_up(dynamic_superb.aggregate),
            max_new_tokens=512,
            official=(dynamic_superb.EXACT,),
            closed_sets=True,
        ),
        _suite(
            name="voicebench",
            load=_load_voicebench,
            score=_score_voicebench,
            optional=_optional_voicebench,
            aggregate=_sum_up_voicebench,
            max_new_tokens=2048,
            official=(voicebench.OFFICIAL,),
            shares=False,
        ),
        _suite(
            name="speech_ifeval",
            load=_load_speech_ifeval,
            score=speech_ifeval_items.score,
            aggregate=speech_ifeval_items.aggregate,
            max_new_tokens=speech_ifeval.MAX_NEW_TOKENS,
            optional=_optional_speech_ifeval,
            official=(
                speech_ifeval_items.FOLLOWED,
                speech_ifeval_items.CORRECT,
                speech_ifeval_items.WER,
            ),
            details=speech_ifeval_items.forgetting,
        ),
        _suite(
            name="transcription",
            load=_load_transcription,
            score=_score_transcription,
            aggregate=_sum_up(transcription.aggregate),
            max_new_tokens=512,
            official=(transcription.WER,),
            lower_is_better=True,
        ),
    )
}
