"""Verbs that ask a model about clips."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from desta.cli.app import app
from desta.cli.options import DEMO_RUN, AsJson, Language, MaxTokens, Model, System, Temperature
from desta.errors import ConfigError, DestaError


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
