"""Verbs that ask a model about clips, and how it is loaded for them."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from desta.cli.app import app
from desta.cli.options import (
    AsJson,
    Device,
    Language,
    MaxSeconds,
    MaxTokens,
    Model,
    Quantise,
    Quantize,
    ReadAgain,
    Seed,
    Stop,
    SystemPrompt,
    Temperature,
    TopP,
    one_of,
)
from desta.cli.tables import print_skipped
from desta.errors import ConfigError
from desta.model.config import SHIPPED
from desta.paths import check_local, check_output

if TYPE_CHECKING:
    from desta.inference.batch_file import AnswerTally
    from desta.inference.conversation import Conversation
    from desta.inference.engine import Engine, Limits
    from desta.model.backbone.sampling import Sampling
    from desta.model.config import Quantization

log = logging.getLogger(__name__)

BATCH_SIZE = 16


@app.command()
def ask(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="AUDIO... QUESTION",
            help="Audio files, if any, and the question, in quotes.",
        ),
    ] = None,
    model: Model = SHIPPED,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Transcription of a clip, one per clip in order; by default Whisper transcribes.",
        ),
    ] = None,
    system: SystemPrompt = None,
    language: Language = None,
    quantize: Quantize = None,
    read_again: ReadAgain = None,
    quantise: Quantise = None,
    device: Device = "auto",
    max_seconds: MaxSeconds = 3600.0,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    stop: Stop = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    jsonl: Annotated[  # the options of `desta answer`, as it was called
        tuple[Path, Path] | None, typer.Option("--jsonl", hidden=True)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, hidden=True)] = None,
    retry: Annotated[bool, typer.Option("--retry", hidden=True)] = False,
) -> None:
    """Ask a question about one or several clips, in any format that libsndfile or FFmpeg reads."""
    setup = Setup(
        model=model,
        system=system,
        language=language,
        quantize=one_of("--quantize", quantize, "--quantise", quantise),
        read_again=read_again,
        device=device,
        max_seconds=max_seconds,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        stop=stop,
        seed=seed,
    )
    if jsonl is not None:
        log.warning("desta ask --jsonl IN OUT is now called desta answer IN OUT")
        for given, name, key in ((words, "a question", "question"), (text, "--text", "texts")):
            if given:
                raise ConfigError(
                    f"{name} cannot be used with --jsonl", fix=f'write "{key}" into its lines'
                )
        batch_size = batch_size or BATCH_SIZE
        _answer_file(setup, *jsonl, batch_size=batch_size, retry=retry, as_json=as_json)
        return
    for option, value in (("--retry", retry), ("--batch-size", batch_size)):
        if value:
            raise ConfigError(
                f"{option} needs a file of requests", fix=f"desta answer IN OUT {option}"
            )
    if not words:
        raise ConfigError("there is nothing to ask", fix='desta ask AUDIO... "QUESTION"')
    *clips, question = words
    if _is_recording(question):
        raise ConfigError(
            f"there is no question after {question}", fix='desta ask AUDIO... "QUESTION"'
        )
    check_readable(clips)
    if text and len(text) > len(clips):
        raise ConfigError(f"{len(text)} --text for {len(clips)} clips", fix="one --text per clip")
    conversation = setup.conversation()
    pieces = conversation.ask(question, clips, text or ())
    if not as_json:
        for piece in pieces:
            typer.echo(piece, nl=False)
        typer.echo()
        return
    whole = "".join(pieces).strip()
    refs = [ref for message in conversation.messages for ref in message.audios]
    audios = [{"audio": ref.audio, "text": ref.text} for ref in refs]
    typer.echo(json.dumps({"answer": whole, "audios": audios}, ensure_ascii=False))


@app.command()
def answer(
    requests: Annotated[
        Path, typer.Argument(metavar="IN", help="JSONL file of requests, one a line.")
    ],
    answers: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="JSONL file of answers; continued if it is there."),
    ],
    model: Model = SHIPPED,
    system: SystemPrompt = None,
    language: Language = None,
    quantize: Quantize = None,
    read_again: ReadAgain = None,
    device: Device = "auto",
    max_seconds: MaxSeconds = 3600.0,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    stop: Stop = None,
    seed: Seed = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Requests answered at once.")] = BATCH_SIZE,
    retry: Annotated[bool, typer.Option("--retry", help="Retry failed requests.")] = False,
    as_json: AsJson = False,
) -> None:
    """Answer a file of requests in batches. Continues an interrupted call.

    A request is a line such as {"audios": ["clip.wav"], "question": "What is heard?"}
    """
    setup = Setup(
        model=model,
        system=system,
        language=language,
        quantize=quantize,
        read_again=read_again,
        device=device,
        max_seconds=max_seconds,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        stop=stop,
        seed=seed,
    )
    _answer_file(setup, requests, answers, batch_size=batch_size, retry=retry, as_json=as_json)


def _answer_file(
    setup: "Setup", source: Path, target: Path, *, batch_size: int, retry: bool, as_json: bool
) -> None:
    check_output(target, in_folder=True)  # at once, for importing torch takes seconds
    from desta.inference.batch_file import answer_file, check_target

    check_target(source, target)
    sampling = setup.sampling()
    read_again = "" if setup.read_again is None else f" read_again={setup.read_again}"
    tally = answer_file(
        setup.engine(),
        source,
        target,
        sampling=sampling,
        system_prompt=setup.system,
        seed=setup.seed or 0,
        model=f"{setup.model} {setup.language} {setup.quantize}{read_again}",
        batch_size=batch_size,
        retry=retry,
    )
    _print_tally(tally, target, as_json)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A model and how it answers, as the options say."""

    model: str
    system: str | None
    language: str | None
    quantize: str | None
    read_again: bool | None
    device: str
    max_seconds: float
    max_tokens: int
    temperature: float
    top_p: float = 1.0
    stop: Sequence[str] | None = None
    seed: int | None = None

    def sampling(self) -> "Sampling":
        """Return how tokens are chosen."""
        from desta.model.backbone.sampling import Sampling

        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_new_tokens=self.max_tokens,
            stop=tuple(self.stop or ()),
        )

    def engine(self, limits: "Limits | None" = None) -> "Engine":
        """Load the model; without limits, with those of the options."""
        from desta.inference.engine import Engine, Limits

        return Engine.load(
            self.model,
            quantization=cast("Quantization | None", self.quantize),  # checked there
            device=self.device,
            language=self.language,
            read_again=self.read_again,
            limits=limits or Limits(max_seconds=self.max_seconds),
        )

    def conversation(self) -> "Conversation":
        """Load the model and begin a conversation."""
        from desta.inference.conversation import Conversation

        sampling = self.sampling()  # wrong numbers are refused before anything is loaded
        return Conversation(self.engine(), sampling, self.system, self.seed)


def _print_tally(tally: "AnswerTally", target: Path, as_json: bool) -> None:
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
    """Return whether a word names a clip and is no question, even if there is no such file."""
    from desta.audio import SUFFIXES

    try:
        there = Path(word).is_file()
    except OSError:  # far too long for a name
        there = False
    return there or (len(word.split()) == 1 and Path(word).suffix.lower() in SUFFIXES)


def check_readable(clips: list[str]) -> None:
    """Refuse clips that cannot be read before a model is loaded for them."""
    from desta.audio import probe_duration

    for clip in clips:
        check_local(clip)
        probe_duration(clip)
