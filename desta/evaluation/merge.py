"""Journals of several processes -> the results of one run, byte for byte."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.evaluation.benchmarks.table import BENCHMARKS
from desta.evaluation.journal import RESULTS, Shard, batch_sizes, lock, read_line
from desta.evaluation.runner import current_config
from desta.evaluation.scores import PLAN, read_plan
from desta.lines import current_lines, replace_failed

_NAME = re.compile(r"results-(\d+)-of-(\d+)\.jsonl")


def merge(folders: Sequence[Path]) -> Path:
    """Join the journals of all processes, and write `results.jsonl` into the first folder.

    One that is there already gives its answer to what has none in the journals: it may have been
    asked again since.

    Args:
        folders: where the processes wrote; one folder may hold several journals.

    Raises:
        DataError: the folders are of different evaluations, a journal is missing, there twice or
            not finished, or holds other results than the plan; or another process writes.
    """
    plan = _common_plan(folders)
    journals = _find(folders)
    sizes = batch_sizes(plan["num_items"], plan["batch_size"], len(plan["systems"]))
    lines = {number: current_lines(path, read_line) for number, path in journals.items()}
    taken = dict.fromkeys(journals, 0)
    merged: list[bytes] = []
    for batch, size in enumerate(sizes):
        number = batch % len(journals)
        part = lines[number][taken[number] : taken[number] + size]
        if len(part) < size:
            wanted = sum(s for b, s in enumerate(sizes) if b % len(journals) == number)
            raise DataError(
                f"{journals[number]} holds {len(lines[number])} of {wanted} results",
                fix=f"finish it: `desta eval ... --shard {number}/{len(journals)}`",
            )
        taken[number] += size
        merged += part
    _check(merged, plan, folders[0])
    target = folders[0] / RESULTS
    with lock(target) as journal:
        journal.rewrite(replace_failed(merged, current_lines(target, read_line), read_line))
    return target


def _common_plan(folders: Sequence[Path]) -> dict[str, Any]:
    """Return the plan of the first folder, once all plans ask the same, by whatever names."""
    plan, *others = [read_plan(folder / PLAN) for folder in folders]
    wanted = _current(plan)
    for folder, other in zip(folders[1:], map(_current, others), strict=True):
        if other != wanted:
            changed = sorted(k for k in {*wanted, *other} if wanted.get(k) != other.get(k))
            raise DataError(
                f"{folder} and {folders[0]} are different evaluations: {', '.join(changed)}",
                fix="merge shards of the same recipe, model and data",
            )
    return plan


def _current(plan: dict[str, Any]) -> dict[str, Any]:
    """Return a plan with its recipe in its present form."""
    config = current_config(plan.get("config", {}), BENCHMARKS[plan["benchmark"]])
    return {**plan, "config": config}


def _find(folders: Sequence[Path]) -> dict[int, Path]:
    """Return the journals by the number of their shard."""
    found: dict[int, Path] = {}
    counts = set()
    for folder in dict.fromkeys(folders):
        for path in sorted(folder.iterdir()):
            if match := _NAME.fullmatch(path.name):
                number, count = map(int, match.groups())
                if number in found:
                    raise DataError(
                        f"shard {number} is in {found[number]} and in {path}", fix="delete one"
                    )
                found[number] = path
                counts.add(count)
    if not counts:
        raise DataError(
            f"{folders[0]} holds no journal of a shard",
            fix="name the folders of `desta eval ... --shard K/N`",
        )
    if len(counts) > 1:
        different = " and ".join(f"K/{count}" for count in sorted(counts))
        raise DataError(
            f"{folders[0]} holds journals of different --shard: {different}",
            fix="run all shards with the same N of --shard K/N, and delete other journals",
        )
    count = counts.pop()
    for number in range(count):
        if number not in found:
            raise DataError(
                f"{Shard(number=number, count=count).file} is missing",
                fix=f"run `desta eval ... --shard {number}/{count}`, or name its folder too",
            )
    return dict(sorted(found.items()))


def _check(merged: Sequence[bytes], plan: dict[str, Any], where: Path) -> None:
    """Make sure that every system has answered every item once."""
    keys = [read_line(line)[0] for line in merged]
    ids = [key[1] for key in keys[: plan["num_items"]] if key]
    if keys != [(system, id) for system in plan["systems"] for id in ids] or len(ids) != len(
        set(ids)
    ):
        raise DataError(f"{where}: the journals are not of this plan", fix="evaluate again")
