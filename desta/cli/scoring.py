"""Verbs for stored answers: score them again, compare them."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from desta.cli.app import app
from desta.cli.options import (
    AllowMissing,
    AsJson,
    Overrides,
    RecipeDevice,
    complete_published,
    new_file,
    one_of,
    renamed,
    with_engine_on,
)
from desta.cli.tables import print_scores, print_skipped
from desta.config import load_recipe, suggest
from desta.errors import ConfigError
from desta.paths import check_output

if TYPE_CHECKING:
    from desta.evaluation.compare import Comparison
    from desta.evaluation.judge.ask import JudgeRecipe
    from desta.evaluation.published import Published
    from desta.generators.base import TextGenerator

LoadJudge = Callable[[], tuple["JudgeRecipe | None", "TextGenerator | None"]]
"""Loads the judge that the options name, if any."""
_NUM_NAMED = 3
"""Items that a printed comparison names of those that it leaves out; its JSON names all."""

SubsetOption = Annotated[
    str | None, typer.Option(help="Part of the benchmark that a published file answers.")
]


@app.command()
def score(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="[BENCHMARK] FILE...",
            autocompletion=complete_published,
            help="Folder or results.jsonl of an evaluation; or a benchmark and published results "
            "files of a system.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Questions that the files should answer; missing answers are counted."),
    ] = None,
    subset: SubsetOption = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the system that wrote the files.")
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option(help="Reference transcriptions, if the files do not hold them."),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Language of transcriptions: code or English name.")
    ] = None,
    judge: Annotated[
        Path | None, typer.Option(help="YAML recipe of a judge: its backbone and engine.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(callback=new_file, help="Also write an HTML page, and Markdown beside it."),
    ] = None,
    allow_missing: AllowMissing = False,
    device: RecipeDevice = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Score stored answers again without the model, our own or published ones."""
    from desta.evaluation.benchmarks.table import BENCHMARKS
    from desta.evaluation.published import score_published

    benchmark, files = (what[0], what[1:]) if what[0] in BENCHMARKS else (None, what)
    paths = [Path(file) for file in files]
    ours = [path for path in paths if _is_evaluation(path)]
    options = {
        "name": name,
        "data": data,
        "subset": subset,
        "references": references,
        "language": language,
    }
    load_judge = partial(_load_judge, judge, device, overrides)
    published = None
    if ours:
        if len(paths) > 1 or any(options.values()):
            raise ConfigError(
                "an evaluation of ours is scored alone, by its own plan",
                fix=f"desta score {ours[0]}",
            )
        scores = _score_evaluation(ours[0], benchmark, load_judge, allow_missing=allow_missing)
    else:
        benchmark = _named(what, benchmark)
        if not paths:
            raise ConfigError("no results file is given", fix=f"desta score {benchmark} FILE...")
        published, facts = _read_published(benchmark, paths, options, load_judge)
        scores = score_published(published, allow_missing=allow_missing) | facts
    if report:
        _write_report(paths, scores, published, report)
    print_scores(scores, as_json)
    if published and published.num_claimed and not as_json:
        equal = published.num_claimed - len(published.disputed)
        typer.echo(f"{equal:,} of {published.num_claimed:,} scores are as the files themselves say")


@app.command()
def compare(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="A B",
            help="Folder of an evaluation, or results file, of system A and of system B; for "
            "several files: A... vs B...",
        ),
    ],
    system_a: Annotated[
        str | None,
        typer.Option(help="System of A if there are several; the model by default."),
    ] = None,
    system_b: Annotated[str | None, typer.Option(help="System of B, likewise.")] = None,
    of: Annotated[str | None, renamed("--of", "--system-a")] = None,
    against: Annotated[str | None, renamed("--against", "--system-b")] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            autocompletion=complete_published, help="Benchmark of published results files."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Questions that both should answer, with the right answers.")
    ] = None,
    subset: SubsetOption = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Compare even if questions of --data have no answer."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare systems A and B on the items that both answered: by how much is B better?"""
    from desta.evaluation.benchmarks.table import find_benchmark
    from desta.evaluation.compare import compare as run
    from desta.evaluation.contenders import read_contender, split_sides
    from desta.evaluation.published import load_questions

    first, second = split_sides(files)
    names = (
        one_of("--system-a", system_a, "--of", of),
        one_of("--system-b", system_b, "--against", against),
    )
    a = read_contender(first, system=names[0], benchmark=benchmark, subset=subset)
    b = read_contender(second, system=names[1], benchmark=benchmark, subset=subset)
    answered = [result.item for result in (*a.results, *b.results)]
    questions = load_questions(find_benchmark(a.benchmark), data, answered) if data else ()
    found = run(a, b, questions, allow_missing=allow_missing)
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False))
        return
    _print_comparison(found)


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _is_evaluation(path: Path) -> bool:
    """Return whether a path is the folder of an evaluation of ours, or the results in it."""
    from desta.evaluation.journal import RESULTS
    from desta.evaluation.scores import PLAN

    return (_folder(path) / PLAN).is_file() and (path.is_dir() or path.name == RESULTS)


def _named(what: list[str], benchmark: str | None) -> str:
    from desta.evaluation.published import FORMS
    from desta.evaluation.scores import check_scored

    if benchmark is not None:
        return benchmark
    if Path(what[0]).exists():
        check_scored(_folder(Path(what[0])))
        raise ConfigError(
            f"{what[0]} is not the folder or the results.jsonl of an evaluation",
            fix=f"of a published file name the benchmark: desta score {next(iter(FORMS))} FILE",
        )
    raise ConfigError(
        f'"{what[0]}" is neither a benchmark nor a file', fix=suggest(what[0], list(FORMS))
    )


def _score_evaluation(
    path: Path, benchmark: str | None, load_judge: LoadJudge, *, allow_missing: bool
) -> dict[str, Any]:
    """Score an evaluation of ours again; return what its `scores.json` holds."""
    from desta.evaluation.rescore import score_again
    from desta.evaluation.scores import PLAN, read_plan

    folder = _folder(path)
    planned = read_plan(folder / PLAN)["benchmark"]
    if benchmark not in (None, planned):
        raise ConfigError(
            f"{path} is an evaluation on {planned}, not on {benchmark}", fix=f"desta score {path}"
        )
    recipe, generator = load_judge()
    return score_again(folder, allow_missing=allow_missing, recipe=recipe, generator=generator)


def _read_published(
    name: str, paths: list[Path], options: dict[str, Any], load_judge: LoadJudge
) -> tuple["Published", dict[str, Any]]:
    """Read published results files; return them, and facts about the judge that was asked."""
    from desta.evaluation.benchmarks.table import find_benchmark
    from desta.evaluation.judge.ask import judge
    from desta.evaluation.published import read_results_files

    benchmark = find_benchmark(name)
    published = read_results_files(benchmark, paths, **options)
    recipe, generator = load_judge()
    if recipe is None or generator is None:
        return published, {}
    results, facts = judge(benchmark, published.results, recipe, generator)
    return replace(published, results=tuple(results)), {"judge": facts}


def _load_judge(
    path: Path | None, device: str | None, overrides: list[str] | None
) -> tuple["JudgeRecipe | None", "TextGenerator | None"]:
    if path is None:
        if overrides or device is not None:
            option = "--set" if overrides else "--device"
            raise ConfigError(f"{option} changes the recipe of a judge", fix="add --judge RECIPE")
        return None, None
    from desta.evaluation.judge.ask import JudgeRecipe

    recipe = with_engine_on(load_recipe(path, JudgeRecipe, overrides or ()), device)
    check_output(recipe.replies)
    from desta.generators.load import load_generator

    return recipe, load_generator(recipe)


def _write_report(
    paths: list[Path], scores: dict[str, Any], published: "Published | None", out: Path
) -> None:
    from desta.reports.evaluation import Evaluation, read_evaluation, write_evaluation_report

    if published is None:
        evaluation = read_evaluation(_folder(paths[0]))
    else:
        name = ", ".join(str(path) for path in paths)
        evaluation = Evaluation(name=name, scores=scores, results=published.results)
    write_evaluation_report(evaluation, out)


def _print_comparison(found: "Comparison") -> None:
    console = Console()
    console.print(
        escape(f"{found.benchmark}, {found.version}: {found.num_items:,} items in common")
    )
    for side, name, count in (
        ("A", found.first, found.num_first),
        ("B", found.second, found.num_second),
    ):
        console.print(escape(f"system {side}: {name}, {count:,} answers"), soft_wrap=True)
    if 2 * found.num_items < max(found.num_first, found.num_second):
        console.print("less than half of the answers can be compared: see what is left out below")
    print_skipped(
        [
            {
                "reason": row.reason,
                "count": row.count,
                "example": "; ".join(row.examples[:_NUM_NAMED]),
            }
            for row in found.left_out
        ],
        what="not compared because",
    )
    from desta.evaluation.benchmarks.table import find_benchmark

    title = find_benchmark(found.benchmark).title
    names = ("metric", "group", "items", "system A", "system B", "B - A", "p", "method")
    table = Table(*names, box=None, header_style="bold")
    for row in found.differences:
        delta = row.difference
        group = row.group if row.dimension == row.group else f"{row.dimension}: {row.group}"
        table.add_row(
            escape(title(row.metric)),
            escape(group),
            f"{row.num_pairs:,}" + (f" (+{row.num_unscored:,})" if row.num_unscored else ""),
            f"{row.first:.4f}",
            f"{row.second:.4f}",
            f"{delta.value:+.4f} ± {delta.standard_error:.4f}",
            f"{row.p_value:.2g}",
            row.method,
        )
    console.print(table)
    if any(row.num_unscored for row in found.differences):
        console.print("(+N): items for which one of the two has no score")
