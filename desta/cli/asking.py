"""Verbs that ask a model about clips."""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from desta.cli.app import app
from desta.cli.options import (
    DEMO_RUN,
    AsJson,
    Device,
    Language,
    MaxSeconds,
    MaxTokens,
    Model,
    Quantise,
    Quantize,
    ReadAgain,
    System,
    Temperature,
)
from desta.cli.tables import print_skipped
from desta.errors import ConfigError, DestaError
from desta.isolation import error_of
from desta.paths import check_local, check_output

_CHAT_HELP = """\
/add PATH   bring in a clip: the next question is about it, too
/help       say this
/quit       end, as Ctrl-D and /exit do
Ctrl-C      stop an answer; the clips stay for the next question"""


def _new_answers(value: tuple[Path, Path] | None) -> tuple[Path, Path] | None:
    if value is not None:
        check_output(value[1], in_folder=True)
    return value


@app.command()
def ask(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="AUDIO... QUESTION",
            help="Files with recordings, if any, and last the question, in quotes.",
        ),
    ] = None,
    model: Model = DEMO_RUN,
    text: Annotated[
        list[str] | None,
        typer.Option(help="What is said in the clip, one per clip in order; else Whisper says it."),
    ] = None,
    system: System = None,
    language: Language = None,
    quantize: Quantize = None,
    read_again: ReadAgain = None,
    quantise: Quantise = None,
    device: Device = "auto",
    max_seconds: MaxSeconds = 3600.0,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    top_p: Annotated[
        float, typer.Option(help="Share of probability mass that sampling may use.")
    ] = 1.0,
    stop: Annotated[
        list[str] | None, typer.Option(help="Text that ends an answer; repeatable.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Of the random numbers of --temperature.")
    ] = 0,
    jsonl: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="IN OUT",
            callback=_new_answers,
            help="Answer a file of requests in batches; goes on where it stopped.",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Requests of --jsonl answered at once.")
    ] = 16,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry", help="Of --jsonl: ask again what has no answer, once its clip is mended."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask a question about one clip or several, in any format libsndfile or FFmpeg reads."""
    if (jsonl is None) != bool(words):
        raise ConfigError(
            "there is nothing to ask" if jsonl is None else "--jsonl brings its own questions",
            fix='desta ask AUDIO... "QUESTION", or desta ask --jsonl IN OUT',
        )
    setup = Setup(
        *(model, language, quantize or quantise, device, max_seconds, max_tokens, temperature),
        top_p=top_p,
        stop=tuple(stop or ()),
        read_again=read_again,
    )
    if jsonl is not None:
        if text:
            raise ConfigError("--text says nothing to --jsonl", fix='write "texts" into its lines')
        from desta.inference.batch_file import answer_file

        sampling = setup.sampling()
        tally = answer_file(
            setup.engine(),
            *jsonl,
            sampling=sampling,
            system_prompt=system,
            seed=seed,
            model=f"{setup.model} {setup.language} {setup.quantize}"
            + ("" if read_again is None else f" read_again={read_again}"),
            batch_size=batch_size,
            retry=retry,
        )
        _print_tally(tally, jsonl[1], as_json)
        return
    if retry:
        raise ConfigError("--retry asks a file again", fix="desta ask --jsonl IN OUT --retry")
    *clips, question = words or []
    if _is_recording(question):
        raise ConfigError(
            f"there is no question after {question}", fix='desta ask AUDIO... "QUESTION"'
        )
    _check_clips(clips)
    if text and len(text) > len(clips):
        raise ConfigError(f"{len(text)} --text for {len(clips)} clips", fix="one --text per clip")
    conversation = setup.conversation(system, seed=seed)
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
    clips: Annotated[
        list[str] | None,
        typer.Argument(metavar="AUDIO", help="Files with recordings that the first turn is about."),
    ] = None,
    model: Model = DEMO_RUN,
    system: System = None,
    language: Language = None,
    quantize: Quantize = None,
    read_again: ReadAgain = None,
    quantise: Quantise = None,
    device: Device = "auto",
    max_seconds: MaxSeconds = 3600.0,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
) -> None:
    """Talk about clips over several turns. `/add PATH` brings in a clip, `/help` tells the rest."""
    waiting = list(clips or ())
    _check_clips(waiting)
    setup = Setup(
        *(model, language, quantize or quantise, device, max_seconds, max_tokens, temperature),
        read_again=read_again,
    )
    conversation = setup.conversation(system)
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo()  # the shell's prompt begins a line of its own
            return
        if line in ("/quit", "/exit"):
            return
        if line.startswith("/"):
            _obey(line, waiting)
        elif line:
            waiting = _turn(conversation, line, waiting)


def _obey(line: str, waiting: list[str]) -> None:
    """Do what a command of a conversation says; `/add` adds to the clips that wait."""
    command, _, path = line.partition(" ")
    if command == "/help":
        typer.echo(_CHAT_HELP)
    elif command != "/add":
        typer.echo(f"error: {command} is no command\n  fix: /help lists them", err=True)
    elif not path:
        typer.echo("error: /add names no clip\n  fix: /add PATH", err=True)
    else:
        clip = path.strip()
        with contextlib.suppress(RuntimeError):  # ~NAME of nobody here: a name like any other
            clip = str(Path(clip).expanduser())
        try:
            _check_clips([clip])
        except DestaError as error:
            typer.echo(f"error: {error}", err=True)
        else:
            waiting.append(clip)


def _turn(conversation: Any, question: str, clips: list[str]) -> list[str]:
    """Ask and print the answer as it comes; return the clips that still wait for a question."""
    try:
        for piece in conversation.ask(question, clips):
            typer.echo(piece, nl=False)
        typer.echo()
    except Exception as error:  # one bad turn does not end the conversation
        typer.echo(f"error: {error_of(error, 'the turn')}", err=True)
        if clips:
            typer.echo(f"left out: {', '.join(clips)}", err=True)
    except KeyboardInterrupt:
        typer.echo("\nstopped; that question counts as never asked", err=True)
        return clips
    return []


@dataclass(frozen=True)
class Setup:
    """A model and how it is to answer, as the options say."""

    model: str
    language: str | None
    quantize: str | None
    device: str
    max_seconds: float
    max_tokens: int
    temperature: float
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    read_again: bool | None = None

    def sampling(self) -> Any:
        """Return how tokens are chosen."""
        from desta.model.backbone.sampling import Sampling

        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_new_tokens=self.max_tokens,
            stop=self.stop,
        )

    def engine(self) -> Any:
        """Load the model."""
        from desta.inference.engine import Engine, Limits

        if self.model == DEMO_RUN and not Path(self.model).is_dir():
            raise ConfigError(
                f"{self.model} is not here", fix="run `desta demo`, or name a model with --model"
            )
        return Engine.load(
            self.model,
            quantization=cast(Any, self.quantize),
            device=self.device,
            language=self.language,
            read_again=self.read_again,
            limits=Limits(max_seconds=self.max_seconds),
        )

    def conversation(self, system: str | None, *, seed: int | None = None) -> Any:
        """Load the model and begin a conversation."""
        from desta.inference.conversation import Conversation

        sampling = self.sampling()  # wrong numbers are told before anything is loaded
        return Conversation(self.engine(), sampling, system, seed)


def _print_tally(tally: Any, target: Path, as_json: bool) -> None:
    rows = tally.failures.rows()
    if as_json:
        typer.echo(
            json.dumps(
                {"answered": tally.answered, "already_done": tally.already_done, "failed": rows},
                ensure_ascii=False,
            )
        )
        return
    before = f" ({tally.already_done} lines were there)" if tally.already_done else ""
    typer.echo(f"{target}: {tally.answered} requests answered{before}")
    print_skipped(rows)


def _is_recording(word: str) -> bool:
    """Say whether it is a clip and no question, even if there is no such file."""
    from desta.audio import SUFFIXES

    try:
        there = Path(word).is_file()
    except OSError:  # far too long for a name
        there = False
    return there or (len(word.split()) == 1 and Path(word).suffix.lower() in SUFFIXES)


def _check_clips(clips: list[str]) -> None:
    """Refuse clips that cannot be read before a model is loaded for them."""
    from desta.audio import probe_duration

    for clip in clips:
        check_local(clip)
        probe_duration(clip)
