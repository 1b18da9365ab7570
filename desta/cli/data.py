"""Verbs about data: from a corpus to audio-text pairs."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from desta.cli.app import app, sources_app
from desta.cli.options import (
    AsJson,
    DryRun,
    MaxBrokenShare,
    Overrides,
    Recipe,
    RecipeDevice,
    new_file,
    new_folder,
    with_engine_on,
)
from desta.cli.tables import print_rows, print_skipped
from desta.config import dump_recipe, load_recipe, to_plain
from desta.errors import ConfigError
from desta.generators.config import LocalEngine
from desta.model.config import AUTO
from desta.records import Split

if TYPE_CHECKING:
    from desta.construction.config import ConstructConfig
    from desta.generators.base import TextGenerator
    from desta.shards import Manifest


@sources_app.callback(invoke_without_command=True)
def sources(context: typer.Context, as_json: AsJson = False) -> None:
    """List the corpora that `desta describe` knows by name, or act on some of them."""
    verb = context.invoked_subcommand
    if verb is None:
        sources_list(as_json)
    elif as_json:
        raise ConfigError("--json belongs behind the verb", fix=f"desta sources {verb} --json")


@sources_app.command("list")
def sources_list(as_json: AsJson = False) -> None:
    """List the corpora that `desta describe` knows by name."""
    from desta.sources import SOURCES
    from desta.sources.base import source_facts

    rows = [source_facts(source) for source in SOURCES.values()]
    if not as_json:  # `show` prints the titles; one column more would be unreadable
        rows = [{key: row[key] for key in row if key != "title"} for row in rows]
    print_rows(rows, as_json)


@sources_app.command("show")
def sources_show(
    name: Annotated[str, typer.Argument(help="Name from `desta sources list`.")],
    as_json: AsJson = False,
) -> None:
    """Tell all that is known of one corpus, with a seed description as an example."""
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
    names: Annotated[list[str], typer.Argument(help="Names from `desta sources list`.")],
    out: Annotated[Path, typer.Option(callback=new_folder, help="Folder to unpack into.")] = Path(
        "demo/corpora"
    ),
) -> None:
    """Fetch the Debian packages of corpora and unpack them, without being root."""
    from desta.sources import find_source
    from desta.sources.packages import fetch_packages

    wanted = [find_source(name) for name in names]
    for source in wanted:
        if not source.packages:
            raise ConfigError(
                f"{source.name} is in no Debian package", fix=f"obtain it yourself: {source.obtain}"
            )
    packages = [package for source in wanted for package in source.packages]
    fetched = fetch_packages(out, packages)
    typer.echo(f"{out}: {len(fetched)} packages fetched, {len(packages) - len(fetched)} were there")


@app.command()
def describe(
    source: Annotated[str, typer.Argument(help="Name of a corpus, `custom` or `lhotse`.")],
    root: Annotated[Path, typer.Argument(help="Folder of the corpus.")],
    out: Annotated[
        Path,
        typer.Option(callback=new_folder, help="Folder for clips.jsonl and describe.json."),
    ],
    recipe: Annotated[
        Path | None, typer.Option(help="For `custom` and `lhotse`: YAML that maps the columns.")
    ] = None,
    overrides: Overrides = None,
    max_broken_share: MaxBrokenShare = 0.05,
    seed: Annotated[int, typer.Option(help="Of the splits.")] = 0,
    split: Annotated[
        Split | None,
        typer.Option(help="Put every clip into this split: hold the whole corpus out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write what a corpus knows of its recordings to clips.jsonl, split by voice and text."""
    from desta.progress import counter
    from desta.sources import describe as describing
    from desta.sources import find_source
    from desta.sources.custom import CustomRecipe, custom_source
    from desta.sources.lhotse import LhotseRecipe, lhotse_source

    if (source in ("custom", "lhotse")) != (recipe is not None):
        raise ConfigError(
            "--recipe belongs to the sources `custom` and `lhotse`, and only to them",
            fix="desta describe custom ROOT --recipe corpus.yaml --out DIR",
        )
    if recipe is None:
        if overrides:
            raise ConfigError("--set changes a recipe, and there is none", fix="leave it out")
        found = find_source(source)
    elif source == "custom":
        found = custom_source(load_recipe(recipe, CustomRecipe, overrides or ()))
    else:
        found = lhotse_source(load_recipe(recipe, LhotseRecipe, overrides or ()))
    with counter(f"describing {found.name}") as show:
        description = describing.describe(
            found,
            root,
            max_broken_share=max_broken_share,
            seed=seed,
            held_out=split,
            on_progress=show,
        )
    describing.write_description(description, out)
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
    clips: Annotated[Path, typer.Argument(help="clips.jsonl, as `desta describe` writes it.")],
    root: Annotated[Path, typer.Option(help="Folder that its paths are relative to.")],
    against: Annotated[
        list[Path],
        typer.Option(
            metavar="FOLDER", help="Folder of a benchmark, as it was published; repeatable."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            callback=new_file,
            help="File for the clips that stay; if unset, clips.clean.jsonl beside clips.jsonl.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Leave out clips that are in the test data of benchmarks, by name or by sound."""
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
    dropped = [
        {"reason": reason, "count": d.count, "example": d.example}
        for reason, d in cleaning.dropped.items()
    ]
    read = [
        {
            "name": benchmark.name,
            "recordings": len(benchmark.items),
            "names": len(benchmark.names),
            "unreadable": sum(d.count for d in benchmark.unreadable.values()),
        }
        for benchmark in benchmarks
    ]
    if as_json:
        summary = {"kept": cleaning.kept, "not_compared": cleaning.not_compared}
        typer.echo(json.dumps({**summary, "dropped": dropped, "benchmarks": read}))
        return
    for row in read:
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
    print_skipped(dropped)


@app.command()
def construct(
    recipe: Recipe,
    out: Annotated[Path, typer.Option(callback=new_folder, help="Directory of the data set.")],
    regenerate: Annotated[
        Path | None,
        typer.Option(help="Data set whose prompts are answered anew, instead of new ones."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="local|ADDRESS",
            help="Ray cluster that writes the responses: this machine, or "
            "its address (auto, HOST:6379, ray://HOST:10001).",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Engines on the cluster; 2 by default.")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Ask again what the engine refused to answer.")
    ] = False,
    device: RecipeDevice = None,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Let the backbone answer prompts about clips, and write audio-text pairs."""
    from desta.construction.config import ConstructConfig

    changes = list(overrides or ())
    if regenerate is not None:
        changes.append(f"regenerate={json.dumps(str(regenerate))}")
    config = with_engine_on(load_recipe(recipe, ConstructConfig, changes), device)
    if dry_run:
        typer.echo(dump_recipe(config))
        return
    if workers is not None and cluster is None:
        raise ConfigError("--workers are of a cluster", fix="add --cluster local|ADDRESS")
    manifest = _construct(config, out, cluster, workers or 2, retry=retry)
    kept = manifest.num_kept
    dropped = [
        {"reason": reason, "count": d.count, "example": d.example}
        for reason, d in manifest.dropped.items()
    ]
    total = kept + manifest.num_dropped
    if as_json:
        typer.echo(json.dumps({"kept": kept, "asked": total, "dropped": dropped}))
        return
    typer.echo(f"{out}: kept {kept} of {total} responses ({kept / total:.1%})")
    print_skipped(dropped)


def _construct(
    config: "ConstructConfig", out: Path, address: str | None, workers: int, *, retry: bool
) -> "Manifest":
    if address is not None:
        from desta.construction.cluster import construct_on_cluster
        from desta.construction.cluster_config import LOCAL, per_worker

        if isinstance(config.engine, LocalEngine) and config.engine.device == AUTO:
            from desta.model.precision import choose_device

            # which devices other machines have, nobody knows here
            config = with_engine_on(config, str(choose_device(AUTO if address == LOCAL else "cpu")))
        recipe, cluster = per_worker(config, address, workers)
        return construct_on_cluster(config, out, partial(_load, recipe), cluster, retry=retry)
    from desta.construction.pipeline import construct as run
    from desta.generators.openai.client import OpenAIGenerator

    generator = _load(config)
    try:
        return run(config, out, generator, retry=retry)
    finally:  # what an interrupted run has cost is worth knowing as well
        if isinstance(generator, OpenAIGenerator):
            used = to_plain(generator.usage)
            typer.echo(", ".join(f"{name} {n}" for name, n in used.items()), err=True)


def _load(config: "ConstructConfig") -> "TextGenerator":
    from desta.generators.load import load_generator  # torch: here, or in a worker

    return load_generator(config)
