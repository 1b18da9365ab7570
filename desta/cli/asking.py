"""Verbs that ask a model about clips."""

import json
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from desta.cli.app import app
from desta.cli.options import (
    DEMO_RUN,
    AsJson,
    Language,
    MaxTokens,
    Model,
    Quantise,
    System,
    Temperature,
)
from desta.cli.tables import print_skipped
from desta.config import suggest
from desta.errors import ConfigError, DestaError


@app.command()
def ask(
    words: Annotated[list[str] | None, typer.Argument(metavar="AUDIO... QUESTION")] = None,
    model: Model = DEMO_RUN,
    text: Annotated[
        list[str] | None,
        typer.Option(help="What is said in the clip, one per clip in order; else Whisper says it."),
    ] = None,
    system: System = None,
    language: Language = None,
    quantise: Quantise = None,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    jsonl: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="IN OUT", help="Answer a file of requests in batches; goes on where it stopped."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Requests of --jsonl answered at once.")] = 16,
    as_json: AsJson = False,
) -> None:
    """Ask a question about one clip or several, in any format libsndfile or FFmpeg reads."""
    if (jsonl is None) != bool(words):
        raise ConfigError(
            "there is nothing to ask" if jsonl is None else "--jsonl brings its own questions",
            fix='desta ask AUDIO... "QUESTION", or desta ask --jsonl IN OUT',
        )
    if jsonl is not None:
        from desta.inference.files import answer_file

        engine, sampling = _engine(model, language, quantise, max_tokens, temperature)
        source, target = jsonl
        tally = answer_file(
            engine, source, target, sampling=sampling, system_prompt=system, batch_size=batch_size
        )
        _print_tally(tally, target, as_json)
        return
    *clips, question = words or []
    if Path(question).is_file():
        raise ConfigError(
            f"there is no question after {question}", fix='desta ask AUDIO... "QUESTION"'
        )
    _check_clips(clips)
    if text and len(text) > len(clips):
        raise ConfigError(f"{len(text)} --text for {len(clips)} clips", fix="one --text per clip")
    conversation = _conversation(model, system, language, quantise, max_tokens, temperature)
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
    quantise: Quantise = None,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
) -> None:
    """Talk about clips over several turns. `/add PATH` brings in a clip, `/quit` ends."""
    waiting = list(clips or ())
    _check_clips(waiting)
    conversation = _conversation(model, system, language, quantise, max_tokens, temperature)
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


def _conversation(
    model: str,
    system: str | None,
    language: str | None,
    quantise: str | None,
    max_tokens: int,
    temperature: float,
) -> Any:
    from desta.inference.conversation import Conversation

    return Conversation(*_engine(model, language, quantise, max_tokens, temperature), system)


def _engine(
    model: str, language: str | None, quantise: str | None, max_tokens: int, temperature: float
) -> tuple[Any, Any]:
    from desta.inference.engine import Engine
    from desta.llm.base import Sampling
    from desta.model.config import Quantisation

    if model == DEMO_RUN and not Path(model).is_dir():
        raise ConfigError(
            f"{model} is not here", fix="run `make demo`, or name a model with --model"
        )
    known = get_args(Quantisation)
    if quantise is not None and quantise not in known:
        raise ConfigError(f"--quantise {quantise} is unknown", fix=suggest(quantise, known))
    sampling = Sampling(temperature=temperature, max_new_tokens=max_tokens)
    engine = Engine.load(model, quantisation=cast(Any, quantise), language=language)
    return engine, sampling


def _print_tally(tally: Any, target: Path, as_json: bool) -> None:
    rows = [
        {"reason": reason, "count": count, "example": first}
        for reason, (count, first) in tally.failures.items()
    ]
    if as_json:
        typer.echo(
            json.dumps(
                {"answered": tally.answered, "already_done": tally.already_done, "failed": rows},
                ensure_ascii=False,
            )
        )
        return
    before = f" ({tally.already_done} were there)" if tally.already_done else ""
    typer.echo(f"{target}: {tally.answered} requests answered{before}")
    print_skipped(rows)


def _check_clips(clips: list[str]) -> None:
    """Refuse clips that cannot be read before a model is loaded for them."""
    from desta.audio import probe_duration

    for clip in clips:
        probe_duration(Path(clip))
