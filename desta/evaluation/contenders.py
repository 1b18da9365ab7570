"""Answers of two systems, read from evaluations of ours or from published files."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from desta.config import COMMAND_LINE
from desta.errors import ConfigError, DataError
from desta.evaluation.base import MODEL, Result
from desta.evaluation.benchmarks.table import BENCHMARKS, find_benchmark
from desta.evaluation.journal import RESULTS
from desta.evaluation.pairing import Contender
from desta.evaluation.published import read_results_files as read_published_results
from desta.evaluation.scores import PLAN, read_plan, read_results
from desta.renamed import system_id

SEPARATOR = "vs"


def split_sides(files: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Return the files of two systems: two files, or two lists with `vs` between them.

    Raises:
        ConfigError: it cannot be told which belong to whom.
    """
    if SEPARATOR in files:
        at = files.index(SEPARATOR)
        sides = files[:at], files[at + 1 :]
    else:
        sides = files[:1], files[1:]
    if not all(sides) or SEPARATOR in sides[1] or (len(files) > 2 and SEPARATOR not in files):
        raise ConfigError(
            f"{len(files)} files do not tell which belong to which system",
            fix=f"give two files, or desta compare A... {SEPARATOR} B...",
        )
    return [Path(file) for file in sides[0]], [Path(file) for file in sides[1]]


def read_contender(
    paths: Sequence[Path],
    *,
    system: str | None = None,
    benchmark: str | None = None,
    subset: str | None = None,
) -> Contender:
    """Read what a system answered.

    Args:
        paths: folders of evaluations, their `results.jsonl`, or published results files, or
            folders that hold nothing else; all of one system.
        system: whose answers, where there are several; by default those of the model.
        benchmark: of published results files, which do not tell.
        subset: the part that published files answer, where their names do not tell.

    Raises:
        ConfigError: there is no such system, or the benchmark is not told.
        DataError: a file is missing or broken, or an item is answered in two of them.
    """
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} is not there", fix="give an evaluation or a results file")
    ours = [path for path in paths if _is_ours(path)]
    if ours and len(ours) < len(paths):
        raise ConfigError(
            f"{ours[0]} is an evaluation of ours, and {next(p for p in paths if p not in ours)} "
            "is not",
            fix="give one kind of files a side",
        )
    if not ours:
        return _published(paths, system, benchmark, subset)
    if subset is not None:
        raise ConfigError("--subset cannot be used with an evaluation of ours", fix="leave it out")
    return _joined([_evaluation(path, system, benchmark) for path in paths], paths)


def _is_ours(path: Path) -> bool:
    return path.name == RESULTS if path.is_file() else (path / PLAN).is_file()


def _evaluation(path: Path, system: str | None, benchmark: str | None) -> Contender:
    folder = path if path.is_dir() else path.parent
    plan = read_plan(folder / PLAN)
    if benchmark not in (None, plan["benchmark"]):
        raise ConfigError(
            f"{path} is an evaluation on {plan['benchmark']}, not on {benchmark}",
            fix="leave the benchmark out",
        )
    results = read_results(folder / RESULTS, BENCHMARKS[plan["benchmark"]])
    wanted = _system(path, results, system)
    return Contender(
        name=f"{path} ({wanted})",
        benchmark=plan["benchmark"],
        version=plan["version"],
        results=[r for r in results if r.system == wanted],
    )


def _published(
    paths: Sequence[Path], system: str | None, benchmark: str | None, subset: str | None
) -> Contender:
    if benchmark is None:
        raise ConfigError(
            f"{paths[0]} does not tell which benchmark it answers", fix="add --benchmark NAME"
        )
    files = [file for path in paths for file in _files(path)]
    published = read_published_results(find_benchmark(benchmark), files, subset=subset)
    if system is not None:
        _system(paths[0], published.results, system)
    return Contender(
        name=label_of(paths),
        benchmark=benchmark,
        version=published.version,
        results=published.results,
    )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file() and file.name[0] != ".")
    if not files:
        raise DataError(f"{path} holds no files", fix="give an evaluation or results files")
    return files


def label_of(paths: Sequence[Path]) -> str:
    """Return what the paths of a system have in common, and how many there are."""
    if len(paths) == 1:
        return str(paths[0])
    shared = os.path.commonprefix([str(path) for path in paths])
    return f"{shared}* ({len(paths)} files)"


def _system(path: Path, results: Sequence[Result], system: str | None) -> str:
    systems = list(dict.fromkeys(r.system for r in results))
    if system not in systems:
        system = system_id(system, where=COMMAND_LINE)
    wanted = system or (MODEL if MODEL in systems else systems[0] if len(systems) == 1 else None)
    if wanted is None or wanted not in systems:
        raise ConfigError(
            f"{path} holds no answers of {wanted}" if wanted else f"{path} holds several systems",
            fix=f"name one of {', '.join(systems)}",
        )
    return wanted


def _joined(parts: Sequence[Contender], paths: Sequence[Path]) -> Contender:
    if len(parts) == 1:
        return parts[0]
    if len({part.benchmark for part in parts}) > 1:
        raise DataError(
            f"{label_of(paths)} are of different benchmarks", fix="give those of one benchmark"
        )
    seen: dict[str, Path] = {}
    for part, path in zip(parts, paths, strict=True):
        for result in part.results:
            if other := seen.get(result.id):
                raise DataError(
                    f"item {result.id!r} is answered in {other} and in {path}",
                    fix="give one answer to every item",
                )
        seen |= dict.fromkeys((result.id for result in part.results), path)
    return replace(
        parts[0],
        name=label_of(paths),
        version=" and ".join(dict.fromkeys(part.version for part in parts)),
        results=[result for part in parts for result in part.results],
    )
