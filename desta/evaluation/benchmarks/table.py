"""The table of benchmarks.

Each row is whole in its own file or folder. To add one, write a file that exports a `Benchmark`
(`sakura.py` uses nearly all that a row may hold) and list it here: that is all that `desta eval`,
`score`, `compare`, `report` and `benchmarks` need.
"""

from desta.config import suggest
from desta.errors import ConfigError
from desta.evaluation.base import Benchmark, Judging
from desta.evaluation.benchmarks import (
    attributes,
    dynamic_superb,
    mmau,
    sakura,
    speech_ifeval,
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
    )
}


def find_benchmark(name: str) -> Benchmark:
    """Return a benchmark.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f'unknown benchmark "{name}"', fix=suggest(name, list(BENCHMARKS)))
    return BENCHMARKS[name]


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
