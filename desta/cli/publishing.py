"""Verbs about finished data sets: inspect and export them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from desta.cli.app import app
from desta.cli.options import AsJson, new_file, new_folder
from desta.cli.tables import print_rows, print_skipped
from desta.errors import ConfigError
from desta.paths import check_output

if TYPE_CHECKING:
    from desta.publishing.survey import Contents

Directory = Annotated[Path, typer.Argument(help="Directory of a data set.")]
Root = Annotated[Path, typer.Option(help="Folder that the paths of recordings are relative to.")]
Prompts = Annotated[
    Path | None, typer.Option(help="Folder of your own prompt pools, if the data set used them.")
]


@app.command()
def inspect(
    directory: Directory,
    root: Root = Path(),
    prompts: Prompts = None,
    card: Annotated[bool, typer.Option("--card", help="Write DIRECTORY/README.md.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(callback=new_file, help="Write an HTML page with samples to play."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Number of samples on that page.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Verify a data set, one of ours or the published one, and print what it holds."""
    from desta.progress import counter
    from desta.publishing.card import CARD, data_card, write_card
    from desta.publishing.survey import survey_data_set

    if card:
        check_output(directory / CARD)
    with counter("inspecting rows") as show:
        found = survey_data_set(
            directory,
            root=root,
            prompts=prompts,
            num_samples=samples if html else 0,
            on_progress=show,
        )
    facts = found.to_json()
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        _print_contents(directory, found, facts)
    if card:
        typer.echo(f"card: {write_card(directory, data_card(found))}", err=True)
    if html:
        from desta.files import write_atomic
        from desta.reports.data_set import samples_page

        html.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(html, samples_page(found, root=root).encode())
        typer.echo(f"page: {html}", err=True)


def _print_contents(directory: Path, found: "Contents", facts: dict[str, Any]) -> None:
    from desta.publishing.survey import faithful_rows, kept_by

    checked = "as the manifest has them" if found.manifest else "no manifest to verify them by"
    typer.echo(
        f"{directory}: {found.num_shards} shards ({checked}), {found.num_rows} rows, "
        f"{found.num_useful} of use, about {found.num_clips} recordings "
        f"({found.hours:.2f} h as described)"
    )
    if found.manifest:
        typer.echo(f"responses by {facts['backbone']}, revision {facts['revision']}")
    rows = [
        {
            "source": source,
            "rows": kinds.total(),
            "kinds of prompts": ", ".join(f"{k} {n}" for k, n in sorted(kinds.items())),
        }
        for source, kinds in sorted(found.counts.items())
    ]
    if rows:
        print_rows(rows, as_json=False)
        print_rows([{"words": n, **q} for n, q in facts["words"].items()], as_json=False)
    if found.languages:
        named = ", ".join(f"{name} {count}" for name, count in found.languages.most_common())
        typer.echo(f"languages named: {named}")
    if found.manifest:
        for table in (
            kept_by(found.manifest, "source"),
            kept_by(found.manifest, "kind of prompt"),
            faithful_rows(found.manifest),
        ):
            if table:
                print_rows(table, as_json=False)
    print_skipped(facts["dropped"], what="dropped in construction because")
    print_skipped(facts["useless"], what="of no use because it")
    print_skipped(facts["odd"], what="unusual because it")


@app.command()
def export(
    directory: Directory,
    parquet: Annotated[
        Path | None,
        typer.Option(callback=new_folder, help="Folder for Parquet files and a card."),
    ] = None,
    audio: Annotated[
        bool, typer.Option("--audio", help="Include the recordings in the Parquet files.")
    ] = False,
    hub: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Upload to this Hub repository: the Parquet files if written, else the shards.",
        ),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
    root: Root = Path(),
    prompts: Prompts = None,
    as_json: AsJson = False,
) -> None:
    """Write a data set as Parquet or upload it to the Hub, with its card."""
    from desta.progress import counter
    from desta.publishing.card import CARD, data_card, write_card
    from desta.publishing.hub import check_access, upload
    from desta.publishing.parquet import PARQUET_FILES, export_parquet
    from desta.publishing.survey import survey_data_set

    if parquet is None and hub is None:
        raise ConfigError(
            "there is no target", fix="give --parquet FOLDER, --hub OWNER/NAME or both"
        )
    if audio and parquet is None:
        raise ConfigError("--audio needs Parquet files", fix="add --parquet FOLDER")
    if hub:
        check_access(hub)  # before hours of writing
    summary: dict[str, object] = {}
    if parquet is not None:
        with counter("exporting rows") as show:
            exported = export_parquet(
                directory, parquet, audio_root=root if audio else None, on_progress=show
            )
        summary |= {
            "files": exported.num_files,
            "rows": exported.num_rows,
            "left_out": exported.left_out.table(),
            "without_sound": exported.silent.table(),
        }
        if not as_json:
            typer.echo(f"{parquet}: {exported.num_rows} rows in {exported.num_files} files")
            print_skipped(exported.left_out.table(), what="left out because it")
            print_skipped(exported.silent.table(), what="without sound because it")
    folder = parquet or directory
    if parquet is not None or not (directory / CARD).is_file():
        with counter("inspecting rows") as show:
            found = survey_data_set(directory, root=root, prompts=prompts, on_progress=show)
        files = PARQUET_FILES if parquet else "*.jsonl"
        typer.echo(f"card: {write_card(folder, data_card(found, files=files))}", err=True)
    if hub:
        uploaded = upload(folder, hub, private=not public)
        summary |= {"hub": hub, "uploaded": uploaded}
        if not as_json:
            typer.echo(f"{hub}: {len(uploaded)} files uploaded")
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
