"""The verb that adds measured attributes and pseudo-labels to the metadata of a corpus."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from desta.cli.app import app
from desta.cli.options import AsJson, Device, MaxBrokenShare, new_folder
from desta.cli.tables import print_skipped


@app.command()
def measure(
    clips: Annotated[Path, typer.Argument(help="clips.jsonl of `desta describe`.")],
    root: Annotated[Path, typer.Option(help="Folder of the corpus.")],
    out: Annotated[
        Path,
        typer.Option(
            callback=new_folder, help="Folder for the new clips.jsonl and thresholds.json."
        ),
    ],
    attributes: Annotated[
        str, typer.Option(help="Attributes to measure, separated by commas; empty for none.")
    ] = "pitch,loudness,rate,snr",
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=MODEL]",
            help="Pseudo-label of a classifier: sex, age, emotion, accent or language; repeatable.",
        ),
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(help="thresholds.json of another corpus, to use the same ones."),
    ] = None,
    max_broken_share: MaxBrokenShare = 0.05,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; one per core by default.")
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Add pitch, volume, speaking speed, noise level and pseudo-labels to clips.jsonl."""
    from desta.attributes.labels import Label
    from desta.attributes.measure import check_measures
    from desta.attributes.measure import measure as run

    measures = [name.strip() for name in attributes.split(",") if name.strip()]
    labels = [Label.parse(text) for text in label or ()]
    check_measures(measures, labels)
    classifiers = []
    if labels:
        from desta.attributes.classifiers import Classifier  # transformers takes seconds to import
        from desta.model.precision import choose_device

        place = choose_device(device)
        classifiers = [Classifier(wanted, device=place) for wanted in labels]
    tally = run(
        clips,
        root,
        out,
        measures=measures,
        classifiers=classifiers,
        thresholds=thresholds,
        max_broken_share=max_broken_share,
        workers=workers,
    )
    summary = tally.summary()
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    _print_measured(out, summary)


def _print_measured(out: Path, summary: dict[str, Any]) -> None:
    added = (f"{name} to {sum(v.values())}" for name, v in summary["attributes"].items())
    typer.echo(f"{out}: {summary['clips']} clips; added {', '.join(added) or 'nothing'}")
    print_skipped(summary["broken"], what="cannot be read because it")
    print_skipped(
        [{**row, "reason": f"{row['attribute']}: {row['reason']}"} for row in summary["missing"]],
        what="not added because",
    )
    print_skipped(
        [
            {**row, "reason": f"{row['attribute']}: {row['kept']} is kept, {row['found']} found"}
            for row in summary["differing"]
        ],
        what="differs",
    )
