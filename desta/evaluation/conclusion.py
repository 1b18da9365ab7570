"""One sentence on an evaluation: does the model beat those that do not hear?

The difference is that of `compare`: of the same items, with its standard error and p-value. It
counts as won where that is below 0.05.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from desta.evaluation.base import MODEL, Benchmark, Result
from desta.evaluation.baselines import NO_AUDIO, title_of
from desta.evaluation.compare import Difference, differences
from desta.evaluation.metrics import TOTAL
from desta.evaluation.pairing import Contender, pair
from desta.evaluation.systems import CASCADE

LEVEL = 0.05
"""Of a p-value that is taken for more than luck."""
_BASELINES = {NO_AUDIO: title_of(NO_AUDIO), CASCADE: "the cascade"}


def judge_systems(
    benchmark: Benchmark, by_system: Mapping[str, Sequence[Result]]
) -> dict[str, Any] | None:
    """Return what `scores.json` holds as `verdict`; None where no model was asked.

    Args:
        benchmark: what was answered.
        by_system: results of the systems that have figures.

    Returns:
        `{sentence, metric, against: [{system, group, num_items, difference, p_value}]}`; `metric`
        is the first official one that scores anything, else the first of ours.
    """
    if MODEL not in by_system:
        return None
    compared = {
        name: _rows(benchmark, by_system[name], by_system[MODEL])
        for name in _BASELINES
        if name in by_system
    }
    rows = {name: found for name, found in compared.items() if found}
    told = [_clause(benchmark, name, found) for name, found in rows.items()]
    unknown = [words for name, words in _BASELINES.items() if name not in rows]
    sentences = [f"The model {' and '.join(told)}."] if told else []
    if told:
        metric = next(iter(rows.values()))[0].metric
        lower = ", where lower is better" if benchmark.lower_is_better else ""
        sentences[0] = f"By `{benchmark.title(metric)}`{lower}, the model {' and '.join(told)}."
    if unknown:
        systems = " ".join(f"--system {name}" for name in _BASELINES if name not in rows)
        sentences.append(
            f"Whether it beats {' and '.join(unknown)} is not known: ask them too ({systems})."
            if told
            else f"Whether the model beats {' and '.join(unknown)} is not known: ask them too "
            f"({systems})."
        )
    return {
        "sentence": " ".join(sentences),
        "metric": next(iter(rows.values()))[0].metric if rows else None,
        "against": [
            {
                "system": name,
                "group": row.group,
                "num_items": row.num_pairs,
                "difference": row.difference.to_json(),
                "p_value": float(f"{row.p_value:.6g}"),
            }
            for name, found in rows.items()
            for row in found
        ],
    }


def _rows(
    benchmark: Benchmark, baseline: Sequence[Result], model: Sequence[Result]
) -> list[Difference]:
    """Return the difference over all items; of several scales, that of each group."""
    first, second = (
        Contender(name=name, benchmark=benchmark.name, version="", results=results)
        for name, results in (("A", baseline), ("B", model))
    )
    pairs, _ = pair(first, second)
    metrics = dict.fromkeys([*benchmark.official, *(r for one in pairs for r in one.values)])
    for metric in metrics:
        found = list(differences(pairs, benchmark.shares, [metric]))
        if found:
            whole = TOTAL if benchmark.shares else found[0].dimension
            return [row for row in found if row.dimension == whole]
    return []


def _clause(benchmark: Benchmark, name: str, rows: Sequence[Difference]) -> str:
    words = _BASELINES[name]
    if len(rows) == 1:
        return _outcome(benchmark, words, rows[0], "")
    return f"{'; '.join(_outcome(benchmark, words, row, f' in {row.group}') for row in rows)}"


def _outcome(benchmark: Benchmark, words: str, row: Difference, where: str) -> str:
    scale, unit = (100, " points") if benchmark.shares else (1, "")
    value, error = scale * row.difference.value, scale * row.difference.standard_error
    size = f"{value:+.1f} ± {error:.1f}{unit}" if scale > 1 else f"{value:+.2f} ± {error:.2f}"
    p = f"p = {row.p_value:.2g}" if row.p_value >= 1e-4 else "p < 0.0001"
    better = -value if benchmark.lower_is_better else value
    told = f"({p}, {row.num_pairs:,} items)"
    if row.p_value >= LEVEL:
        return f"does not beat {words}{where}: {size} {told}"
    return f"{'beats' if better > 0 else 'is worse than'} {words}{where} by {size} {told}"
