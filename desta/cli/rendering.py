"""Verbs that render clips: `desta render speech`, `desta render music`."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from desta.cli.app import render_app
from desta.cli.options import AsJson, new_folder
from desta.cli.tables import print_skipped

if TYPE_CHECKING:
    from desta.sources.rendered.folder import Job, Renderer

Out = Annotated[
    Path,
    typer.Option(callback=new_folder, help="Folder of the clips; what is there is kept."),
]
Parts = Annotated[
    Path, typer.Option(help="Folder that `desta sources fetch rendered` has fetched into.")
]
DrawSeed = Annotated[int, typer.Option(help="Random seed of what is drawn.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes, of one thread each; by default one for each core."),
]
_PARTS = Path("demo/corpora")


@render_app.command()
def speech(
    out: Out,
    parts: Parts = _PARTS,
    voices: Annotated[
        list[str] | None,
        typer.Option(
            "--voice",
            help="Voice such as af_heart, or a blend such as f-ff_siwis-af_heart; repeatable. "
            "By default all 54.",
        ),
    ] = None,
    sentences: Annotated[int, typer.Option(min=1, help="Sentences for each voice.")] = 24,
    blends: Annotated[
        int,
        typer.Option(min=0, help="Further voices of each language and sex, blended from two."),
    ] = 0,
    seed: DrawSeed = 0,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Render sentences in eight languages with the voices of Kokoro, into clips and a table."""
    from desta.sources.rendered.kokoro import Kokoro
    from desta.sources.rendered.speech import plan_speech

    jobs = plan_speech(voices or (), num_sentences=sentences, num_blends=blends, seed=seed)
    _render(jobs, out, partial(Kokoro, parts), workers, as_json)


@render_app.command()
def music(
    out: Out,
    parts: Parts = _PARTS,
    fonts: Annotated[
        list[str] | None,
        typer.Option("--font", help="Sound font such as fluidr3; repeatable. By default all."),
    ] = None,
    notes: Annotated[int, typer.Option(min=0, help="Clips of one note, for each font.")] = 500,
    pairs: Annotated[int, typer.Option(min=0, help="Clips of two notes, for each font.")] = 340,
    tunes: Annotated[int, typer.Option(min=0, help="Clips of a tune, for each font.")] = 270,
    seed: DrawSeed = 0,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Render notes, intervals and tunes with General-MIDI sound fonts, into clips and a table."""
    from desta.sources.rendered.fonts import Synthesizer
    from desta.sources.rendered.music import plan_music

    jobs = plan_music(fonts or (), num_notes=notes, num_pairs=pairs, num_tunes=tunes, seed=seed)
    _render(jobs, out, partial(Synthesizer, parts, fonts or ()), workers, as_json)


def _render(
    jobs: "list[Job]",
    out: Path,
    make: "Callable[[], Renderer]",
    workers: int | None,
    as_json: bool,
) -> None:
    from desta.progress import progress_bar
    from desta.sources.rendered.folder import render

    with progress_bar("rendering", total=len(jobs)) as advance:
        done = render(jobs, out, make, workers=workers or os.cpu_count() or 1, on_progress=advance)
    if as_json:
        typer.echo(json.dumps(done.summary(), ensure_ascii=False))
        return
    typer.echo(
        f"{out}: {done.rendered} clips rendered, {done.kept} were there, "
        f"{done.seconds / 60:.1f} min in all"
    )
    print_skipped(done.skipped.table())
    print_skipped(done.dropped.table(), what="kept, though")
