"""The browser of items in a report: what was asked, heard and answered, to filter and to search.

The items stand in the page as data, and are drawn a few at a time by `assets/reports/items.js`,
so that thousands of them open at once.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from desta import audio
from desta.errors import DataError
from desta.evaluation.base import Benchmark, Result
from desta.evaluation.baselines import title_of
from desta.progress import progress_bar
from desta.records import NO_TRANSCRIPTION
from desta.reports.attributes import embed

EMBEDDED_BYTES = 24 * 2**20
"""Of sounds in one page; clips beyond that are played from their files."""
RIGHT, WRONG, BETWEEN, UNSCORED = range(4)
"""Outcomes, as the script numbers them."""
_MOST_GROUPS = 80  # of a dimension that can be chosen from


@dataclass(frozen=True, kw_only=True)
class Sounds:
    """The clips of a page."""

    sources: Mapping[str, str | None]
    """Path -> data URI or path relative to the page; None where there is no such file."""
    num_embedded: int
    num_linked: int
    num_missing: int


def browser(benchmark: Benchmark, results: Sequence[Result], sounds: Sounds) -> list[str]:
    """Return markup that lets a reader look at items; it needs `style` and `script`.

    Args:
        benchmark: whose items they are.
        results: of any systems; results of the same item are shown together.
        sounds: its clips.
    """
    data = json.dumps(_data(benchmark, results, sounds), ensure_ascii=False, separators=(",", ":"))
    data = data.replace("<", r"\u003c")  # nothing in it can end its element, or begin a comment
    return [
        '<form class="filters" id="items-filters"><output id="items-count"></output></form>',
        '<div id="items-list"></div>',
        '<button type="button" id="items-end">more</button>',
        '<noscript><p class="missing">The items are shown by a script.</p></noscript>',
        f'<script type="application/json" id="items-data">{data}</script>',
    ]


def collect_sounds(paths: Sequence[str], page: Path, limit: int = EMBEDDED_BYTES) -> Sounds:
    """Put clips into a page until it holds `limit` bytes of them; link the others.

    Args:
        paths: of clips.
        page: where it will be written.
        limit: of all embedded sounds together, in bytes.
    """
    sources: dict[str, str | None] = {}
    size = num_embedded = num_linked = 0
    unique = list(dict.fromkeys(paths))
    with progress_bar("clips", total=len(unique)) as advance:
        for path in unique:
            sources[path] = None
            if Path(path).is_file():
                sound = _embedded(Path(path)) if size < limit else None
                if sound is not None and size + len(sound) <= limit:
                    size += len(sound)
                    num_embedded += 1
                    sources[path] = sound
                else:
                    num_linked += 1
                    sources[path] = quote(os.path.relpath(path, page.parent).replace(os.sep, "/"))
            advance()
    return Sounds(
        sources=sources,
        num_embedded=num_embedded,
        num_linked=num_linked,
        num_missing=len(unique) - num_embedded - num_linked,
    )


def outcome(benchmark: Benchmark, result: Result, metric: str) -> int:
    """Return whether a result is right by a metric, wrong, between, or not scored."""
    value = result.score.values.get(metric)
    if value is None:
        return UNSCORED
    worst, best = benchmark.scale(result.item, metric)
    return RIGHT if value == best else WRONG if value == worst else BETWEEN


def _embedded(path: Path) -> str | None:
    try:
        return embed(audio.load_audio(path))
    except DataError:
        return None  # the browser may still know how to play it


def _data(benchmark: Benchmark, results: Sequence[Result], sounds: Sounds) -> dict[str, Any]:
    systems = list(dict.fromkeys(r.system for r in results))
    metrics = _metrics(results)
    names: dict[str, dict[str, None]] = {}
    for result in results:
        for dimension, group in result.item.groups.items():
            names.setdefault(dimension, {})[group] = None
    dimensions = {d: sorted(g) for d, g in names.items() if 1 < len(g) <= _MOST_GROUPS}
    places = {path: number for number, path in enumerate(sounds.sources)}
    items: dict[str, dict[str, Any]] = {}
    for r in results:
        groups = r.item.groups
        item = items.setdefault(
            r.id,
            {
                "id": r.id,
                "groups": [
                    names.index(groups[d]) if d in groups else None
                    for d, names in dimensions.items()
                ],
                "question": r.item.question,
                "target": r.item.target,
                "transcription": ""
                if r.item.transcription == NO_TRANSCRIPTION
                else r.item.transcription,
                "audio": [places[path] for path in r.audio],
                "answers": [],
            },
        )
        item["answers"].append(
            {
                "system": systems.index(r.system),
                "output": r.output,
                "extracted": r.score.extracted,
                "values": [_round(r.score.values.get(name)) for name in metrics],
                "outcomes": [outcome(benchmark, r, name) for name in metrics],
                "note": r.skipped or r.score.note or "",
                "prompt": [f"{m['role']}: {m['content']}" for m in r.prompt],
                "replies": list(r.replies),
            }
        )
    return {
        "items": list(items.values()),
        "sounds": list(sounds.sources.values()),
        "systems": [title_of(system) for system in systems],
        "metrics": [benchmark.title(metric) for metric in metrics],
        "dimensions": [{"name": name, "groups": groups} for name, groups in dimensions.items()],
    }


def _metrics(results: Sequence[Result]) -> list[str]:
    """Return the metrics, those that score something first."""
    values = [result.score.values for result in results]
    scored = [name for each in values for name, value in each.items() if value is not None]
    return list(dict.fromkeys([*scored, *(name for each in values for name in each)]))


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
