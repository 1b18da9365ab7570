"""The table of benchmarks.

Each row is whole in its own file or folder. To add one, write a file that exports a `Benchmark`
(`sakura/` uses nearly all that a row may hold) and list it here: that is all that `desta eval`,
`score`, `compare`, `report` and `benchmarks` need. A row with a `check`, such as `text`, has no
answers for `score`, `compare` and `report`.
"""

from dataclasses import asdict

from desta.config import suggest
from desta.errors import ConfigError
from desta.evaluation.base import Benchmark, Judging
from desta.evaluation.benchmarks import (
    attributes,
    dynamic_superb,
    mmau,
    probe,
    sakura,
    speech_ifeval,
    text,
    transcription,
    voicebench,
)

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        attributes.BENCHMARK,
        mmau.MMAU,
        mmau.MMAR,
        sakura.BENCHMARK,
        dynamic_superb.BENCHMARK,
        voicebench.BENCHMARK,
        speech_ifeval.BENCHMARK,
        transcription.BENCHMARK,
        text.BENCHMARK,
        probe.BENCHMARK,
    )
}


def find_benchmark(name: str) -> Benchmark:
    """Return a benchmark.

    Raises:
        ConfigError: there is none of that name; the fix names the nearest, and all.
    """
    if name not in BENCHMARKS:
        names = sorted(BENCHMARKS)
        near, all_of_them = suggest(name, names), f"choose from {', '.join(names)}"
        fix = near if near == all_of_them else f"{near} else {all_of_them}"
        raise ConfigError(f'unknown benchmark "{name}"', fix=fix)
    return BENCHMARKS[name]


def find_about(name: str) -> dict[str, str]:
    """Return what is known of a benchmark, with its name.

    Raises:
        ConfigError: there is none of that name.
    """
    return {"name": name, **asdict(find_benchmark(name).about)}


def find_judging(benchmark: Benchmark) -> Judging:
    """Return how a benchmark asks a judge.

    Raises:
        ConfigError: it needs none.
    """
    if benchmark.judging is None:
        others = [name for name, row in BENCHMARKS.items() if row.judging]
        raise ConfigError(
            f"{benchmark.name} is scored by rules alone and has no use for a judge",
            fix=f"leave the judge out; those that have one are {', '.join(others)}",
        )
    return benchmark.judging
