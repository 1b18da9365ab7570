"""Verbs that build a data set: from a corpus to audio-text pairs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from desta.cli.app import app, sources_app
from desta.cli.options import (
    AsJson,
    DryRun,
    MaxBrokenShare,
    Overrides,
    Recipe,
    RecipeDevice,
    complete_source,
    new_file,
    new_folder,
    with_engine_on,
)
from desta.cli.tables import print_rows, print_skipped
from desta.config import dump_recipe, load_recipe
from desta.errors import ConfigError
from desta.records import Split

if TYPE_CHECKING:
    from desta.construction.decontamination.clean import Cleaning


@sources_app.callback(invoke_without_command=True)
def sources(context: typer.Context, as_json: AsJson = False) -> None:
    """List, show and fetch the corpora that `desta describe` reads by name."""
    verb = context.invoked_subcommand
    if verb is None:
        sources_list(as_json)
    elif as_json:
        raise ConfigError("--json belongs after the verb", fix=f"desta sources {verb} --json")


@sources_app.command("list")
def sources_list(as_json: AsJson = False) -> None:
    """List the corpora that `desta describe` reads by name."""
    from desta.sources import SOURCES
    from desta.sources.base import source_facts

    rows = [source_facts(source) for source in SOURCES.values()]
    if not as_json:  # `show` prints the titles; one column more would be unreadable
        rows = [{key: row[key] for key in row if key != "title"} for row in rows]
    print_rows(rows, as_json)


@sources_app.command("show")
def sources_show(
    name: Annotated[
        str,
        typer.Argument(autocompletion=complete_source, help="Name from `desta sources list`."),
    ],
    as_json: AsJson = False,
) -> None:
    """Show what is known about a corpus, with an example of a seed description."""
    from desta.sources import find_source
    from desta.sources.base import source_facts
    from desta.sources.examples import example_of

    source = find_source(name)
    facts = source_facts(source) | {"example": example_of(name) or ""}
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for key, value in facts.items():
        typer.echo(f"{key:<8} {value or '-'}")


@sources_app.command("fetch")
def sources_fetch(
    names: Annotated[
        list[str],
        typer.Argument(autocompletion=complete_source, help="Names from `desta sources list`."),
    ],
    out: Annotated[Path, typer.Option(callback=new_folder, help="Folder to unpack into.")] = Path(
        "demo/corpora"
    ),
) -> None:
    """Download the packages of corpora and unpack them; needs no root, and installs nothing."""
    from desta.sources import find_source
    from desta.sources.packages import fetch_packages

    wanted = [find_source(name) for name in names]
    for source in wanted:
        if not source.packages:
            raise ConfigError(
                f"{source.name} is in no package", fix=f"obtain it yourself: {source.obtain}"
            )
    packages = [package for source in wanted for package in source.packages]
    others = [source.fetch for source in wanted if source.fetch is not None]
    fetched = fetch_packages(out, packages)
    fetched += [name for fetch in others for name in fetch(out)]
    total = len(packages) + len(others)
    typer.echo(f"{out}: {len(fetched)} packages fetched, {total - len(fetched)} were there")


@app.command()
def describe(
    source: Annotated[
        str,
        typer.Argument(
            autocompletion=lambda: [*complete_source(), "custom", "lhotse"],
            help="Corpus from `desta sources list`, or `custom` or `lhotse`.",
        ),
    ],
    root: Annotated[Path, typer.Argument(help="Folder of the corpus.")],
    out: Annotated[
        Path,
        typer.Option(callback=new_folder, help="Folder for clips.jsonl and describe.json."),
    ],
    recipe: Annotated[
        Path | None,
        typer.Option(help="For `custom` and `lhotse`: YAML recipe that maps the columns."),
    ] = None,
    overrides: Overrides = None,
    max_broken_share: MaxBrokenShare = 0.05,
    seed: Annotated[int, typer.Option(help="Random seed of the splits.")] = 0,
    split: Annotated[
        Split | None,
        typer.Option(help="Put every clip into this split: hold the whole corpus out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the metadata of a corpus to clips.jsonl, in splits that share no voice or text."""
    from desta.api import describe as run

    description = run(
        source,
        root,
        out,
        recipe=recipe,
        overrides=overrides or (),
        max_broken_share=max_broken_share,
        seed=seed,
        held_out=split,
    )
    summary = description.summary()
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    splits = ", ".join(f"{count} {split}" for split, count in summary["splits"].items())
    typer.echo(f"{out}: {summary['clips']} clips, {summary['hours']:.2f} h ({splits})")
    if description.shared:
        typer.echo(
            f"warning: {description.shared} voices, texts or recordings are in several splits, "
            "because the corpus splits itself",
            err=True,
        )
    print_skipped(summary["skipped"])
    print_skipped(summary["noted"], what="kept, though it")


@app.command()
def decontaminate(
    clips: Annotated[Path, typer.Argument(help="clips.jsonl of `desta describe`.")],
    root: Annotated[Path, typer.Option(help="Folder that the paths in it are relative to.")],
    against: Annotated[
        list[Path],
        typer.Option(metavar="FOLDER", help="Folder of a benchmark as published; repeatable."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            callback=new_file,
            help="File for the clips that are kept; by default clips.clean.jsonl beside CLIPS.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove clips that are in the test data of benchmarks, by name or by sound."""
    from desta.construction.decontamination.clean import check_files, clean_file
    from desta.construction.decontamination.test_recordings import read_benchmark
    from desta.progress import counter

    out = out or clips.with_suffix(".clean.jsonl")
    check_files(clips, out)
    benchmarks = []
    for directory in against:
        with counter(f"reading {directory.name}") as show:
            benchmarks.append(read_benchmark(directory, on_progress=show))
    with counter(f"comparing {clips.name}") as show:
        cleaning = clean_file(clips, root, benchmarks, out=out, on_progress=show)
    dropped = cleaning.dropped.rows()
    read = [
        {
            "name": benchmark.name,
            "recordings": len(benchmark.items),
            "names": len(benchmark.names),
            "unreadable": benchmark.unreadable.total,
        }
        for benchmark in benchmarks
    ]
    if as_json:
        summary = {"kept": cleaning.kept, "not_compared": cleaning.not_compared}
        typer.echo(json.dumps({**summary, "dropped": dropped, "benchmarks": read}))
        return
    _print_cleaning(out, cleaning, read)
    print_skipped(dropped)


@app.command()
def construct(
    recipe: Recipe,
    out: Annotated[Path, typer.Option(callback=new_folder, help="Directory of the data set.")],
    regenerate: Annotated[
        Path | None,
        typer.Option(help="Answer the prompts of this data set again instead of drawing new ones."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="local|ADDRESS",
            help="Ray cluster that generates the responses: this machine, or an address (auto, "
            "HOST:6379, ray://HOST:10001).",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Engines on the cluster; 2 by default.")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Retry requests that the engine refused.")
    ] = False,
    device: RecipeDevice = None,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Generate responses to prompts about clips with the backbone; write audio-text pairs."""
    from desta.api import construct as run
    from desta.construction.config import ConstructConfig

    changes = list(overrides or ())
    if regenerate is not None:
        changes.append(f"regenerate={json.dumps(str(regenerate))}")
    config = with_engine_on(load_recipe(recipe, ConstructConfig, changes), device)
    if dry_run:
        typer.echo(dump_recipe(config))
        return
    if workers is not None and cluster is None:
        raise ConfigError("--workers needs a cluster", fix="add --cluster local|ADDRESS")
    manifest = run(config, out, cluster=cluster, workers=workers or 2, retry=retry)
    kept = manifest.num_kept
    dropped = manifest.dropped.rows()
    total = kept + manifest.num_dropped
    if as_json:
        typer.echo(json.dumps({"kept": kept, "asked": total, "dropped": dropped}))
        return
    typer.echo(f"{out}: kept {kept} of {total} responses ({kept / total:.1%})")
    print_skipped(dropped)


def _print_cleaning(out: Path, cleaning: "Cleaning", benchmarks: list[dict[str, Any]]) -> None:
    for row in benchmarks:
        typer.echo(
            f"{row['name']}: {row['recordings']} recordings, {row['names']} names, "
            f"{row['unreadable']} recordings could not be read"
        )
    total = cleaning.kept + sum(d.count for d in cleaning.dropped.values())
    typer.echo(f"{out}: kept {cleaning.kept} of {total} clips")
    if cleaning.not_compared:
        typer.echo(
            f"warning: {cleaning.not_compared} of them are too short or too quiet to be compared "
            "by sound",
            err=True,
        )
