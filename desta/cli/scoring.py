"""Verbs for answers that are there already: score them again, compare them."""

import json
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
    new_file,
    with_engine_on,
)
from desta.cli.tables import print_scores, print_skipped
from desta.config import load_recipe, suggest
from desta.errors import ConfigError
from desta.paths import check_output

if TYPE_CHECKING:
    from desta.evaluation.compare import Comparison

Subset = Annotated[
    str | None, typer.Option(help="What a published file answers, if its name does not say.")
]


_NUM_NAMED = 3
"""Items that a printed comparison names of those that it leaves out; its JSON names all."""


@app.command()
def score(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="[BENCHMARK] FILE",
            help="Folder or results.jsonl of an evaluation; or the name of a benchmark and the "
            "results files that somebody published.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Questions that published files should answer; missing ones count."),
    ] = None,
    subset: Subset = None,
    name: Annotated[
        str | None, typer.Option(help="What to call the system of published files.")
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option(help="What was said, where files of transcriptions do not hold it."),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Of transcriptions: code or English name.")
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(
            help="YAML recipe of a judge: its backbone, and its engine if that is not here."
        ),
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
    """Score stored answers again without the model, ours or as others published them."""
    from desta.evaluation.benchmarks.table import BENCHMARKS
    from desta.evaluation.journal import RESULTS
    from desta.evaluation.scores import PLAN, read_plan

    benchmark, files = (what[0], what[1:]) if what[0] in BENCHMARKS else (None, what)
    paths = [Path(file) for file in files]
    folders = [path if path.is_dir() else path.parent for path in paths]
    ours = [
        (folder / PLAN).is_file() and (path.is_dir() or path.name == RESULTS)
        for path, folder in zip(paths, folders, strict=True)
    ]
    if not any(ours):
        asked = _named(what, benchmark)
        if not paths:
            raise ConfigError("no results file is given", fix=f"desta score {asked} FILE...")
        _score_published(
            asked,
            paths,
            {
                "name": name,
                "data": data,
                "subset": subset,
                "references": references,
                "language": language,
            },
            judge,
            report,
            allow_missing,
            device,
            overrides,
            as_json,
        )
        return
    if len(paths) > 1 or data or subset or name or references or language:
        raise ConfigError(
            "an evaluation of ours is scored alone, by its own plan",
            fix=f"desta score {files[ours.index(True)]}",
        )
    planned = read_plan(folders[0] / PLAN)["benchmark"]
    if benchmark not in (None, planned):
        raise ConfigError(
            f"{files[0]} is an evaluation on {planned}, not on {benchmark}",
            fix=f"desta score {files[0]}",
        )
    from desta.evaluation.rescore import score_again

    recipe, generator = _judge(judge, device, overrides)
    scores = score_again(
        folders[0], allow_missing=allow_missing, recipe=recipe, generator=generator
    )
    if report:
        from desta.reports.evaluation import read_evaluation, write_report

        write_report(read_evaluation(folders[0]), report)
    print_scores(scores, as_json)


@app.command()
def compare(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FIRST SECOND",
            help="Folder of an evaluation, or results file, of each system; where one has several: "
            "FIRST... vs SECOND...",
        ),
    ],
    of: Annotated[str | None, typer.Option(help="System of FIRST; the model by default.")] = None,
    against: Annotated[
        str | None, typer.Option(help="System of SECOND; the model by default.")
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option(help="What published results files answer.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Questions that both should answer, and their right answers.")
    ] = None,
    subset: Subset = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Compare what was answered, if not all of --data is."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say by how much SECOND is better than FIRST on the items that both answered."""
    from desta.evaluation.benchmarks.table import find_benchmark
    from desta.evaluation.compare import compare as run
    from desta.evaluation.contenders import read_contender, split_sides
    from desta.evaluation.published import load_questions

    first, second = split_sides(files)
    a = read_contender(first, system=of, benchmark=benchmark, subset=subset)
    b = read_contender(second, system=against, benchmark=benchmark, subset=subset)
    answered = [result.item for result in (*a.results, *b.results)]
    questions = load_questions(find_benchmark(a.benchmark), data, answered) if data else ()
    found = run(a, b, questions, allow_missing=allow_missing)
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False))
        return
    _print_comparison(found)


def _named(what: list[str], benchmark: str | None) -> str:
    from desta.evaluation.published import FORMS

    if benchmark is not None:
        return benchmark
    if Path(what[0]).exists():
        raise ConfigError(
            f"{what[0]} is not the folder or the results.jsonl of an evaluation",
            fix=f"of a published file name the benchmark: desta score {next(iter(FORMS))} FILE",
        )
    raise ConfigError(
        f'"{what[0]}" is neither a benchmark nor a file', fix=suggest(what[0], list(FORMS))
    )


def _score_published(
    name: str,
    paths: list[Path],
    how: dict[str, Any],
    judge: Path | None,
    report: Path | None,
    allow_missing: bool,
    device: str | None,
    overrides: list[str] | None,
    as_json: bool,
) -> None:
    from dataclasses import replace

    from desta.evaluation.benchmarks.table import find_benchmark
    from desta.evaluation.published import read_results, score_published

    benchmark = find_benchmark(name)
    published = read_results(benchmark, paths, **how)
    recipe, generator = _judge(judge, device, overrides)
    facts: dict[str, Any] = {}
    if recipe is not None:
        from desta.evaluation.judge.ask import judge as ask

        judged, found = ask(benchmark, published.results, recipe, generator)
        published, facts = replace(published, results=tuple(judged)), {"judge": found}
    scores = score_published(published, allow_missing=allow_missing) | facts
    if report:
        from desta.reports.evaluation import Evaluation, write_report

        told = ", ".join(str(path) for path in paths)
        write_report(Evaluation(name=told, scores=scores, results=published.results), report)
    print_scores(scores, as_json)
    if published.num_claimed and not as_json:
        equal = published.num_claimed - len(published.disputed)
        typer.echo(f"{equal:,} of {published.num_claimed:,} scores are as the files themselves say")


def _judge(path: Path | None, device: str | None, overrides: list[str] | None) -> tuple[Any, Any]:
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


def _print_comparison(found: "Comparison") -> None:
    console = Console()
    console.print(
        escape(f"{found.benchmark}, {found.version}: {found.num_items:,} items in common")
    )
    console.print(escape(f"A is {found.first}, {found.num_first:,} answers"), soft_wrap=True)
    console.print(escape(f"B is {found.second}, {found.num_second:,} answers"), soft_wrap=True)
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
    names = ("reading", "group", "items", "A", "B", "B - A", "p", "by")
    table = Table(*names, box=None, header_style="bold")
    for row in found.differences:
        delta = row.difference
        group = row.group if row.dimension == row.group else f"{row.dimension}: {row.group}"
        table.add_row(
            escape(row.reading),
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
        console.print("(+N): items that one of the two has no score of")
