"""The verb that talks with a model over several turns."""

import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from desta.cli.app import app
from desta.cli.asking import Setup, check_readable
from desta.cli.options import (
    Device,
    Language,
    MaxSeconds,
    MaxTokens,
    Model,
    Quantise,
    Quantize,
    ReadAgain,
    SystemPrompt,
    Temperature,
    one_of,
)
from desta.errors import ConfigError, DestaError
from desta.files import atomic_file
from desta.isolation import error_of
from desta.model.config import SHIPPED
from desta.paths import check_output
from desta.records import LOCATOR, NO_TRANSCRIPTION, Message

if TYPE_CHECKING:
    from desta.cli.remote import RemoteConversation
    from desta.inference.conversation import Conversation

_HELP = """\
/add PATH          add a clip: the next question is about it, too
/record [SECONDS]  add what the microphone records; without SECONDS until Enter
/system [TEXT]     show or replace the system prompt
/save FILE         write the conversation: .md for reading, else JSON, a turn a line
/help              list the commands
/quit              end, as Ctrl-D and /exit do
Ctrl-C             stop an answer; the clips stay for the next question"""


@app.command()
def chat(
    clips: Annotated[
        list[str] | None,
        typer.Argument(metavar="AUDIO...", help="Audio files that the first question is about."),
    ] = None,
    model: Model = SHIPPED,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Talk to desta serve, or any server of OpenAI's API that takes audio, "
            "in place of a loaded model; --model is then its name there.",
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
) -> None:
    """Talk about clips over several turns; `/help` lists the commands."""
    waiting = list(clips or ())
    check_readable(waiting)
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
    )
    conversation = setup.conversation() if server is None else _remote(server, setup)
    talk = _Talk(conversation, waiting)
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo()  # the shell's prompt begins a line of its own
            return
        if line in ("/quit", "/exit"):
            return
        if line.startswith("/"):
            talk.command(line)
        elif line:
            talk.ask(line)


def _remote(url: str, setup: Setup) -> "RemoteConversation":
    """Begin a conversation with a server, which has a model of its own."""
    from desta.cli.remote import connect

    for option, value in (
        ("--language", setup.language),
        ("--quantize", setup.quantize),
        ("--read-again", setup.read_again),
    ):
        if value is not None:
            raise ConfigError(f"{option} cannot be used with --server", fix="give it to the server")
    setup.sampling()  # wrong numbers are refused before anything is asked
    model = None if setup.model == SHIPPED else setup.model
    options = {"max_tokens": setup.max_tokens, "temperature": setup.temperature}
    return connect(url, model, setup.system, **options)


@dataclass
class _Talk:
    """A conversation in the terminal."""

    conversation: "Conversation | RemoteConversation"
    waiting: list[str]
    """Clips that wait for a question."""
    _folder: Path | None = field(default=None, init=False)
    """Of what is recorded."""

    def command(self, line: str) -> None:
        """Run a command; an error is printed."""
        name, _, rest = line.partition(" ")
        commands: dict[str, Callable[[str], None]] = {
            "/add": self._add,
            "/record": self._record,
            "/system": self._system,
            "/save": self._save,
            "/help": lambda _: typer.echo(_HELP),
        }
        try:
            if name not in commands:
                raise ConfigError(f"{name} is no command", fix="/help lists them")
            commands[name](rest.strip())
        except DestaError as error:
            typer.echo(f"error: {error}", err=True)

    def ask(self, question: str) -> None:
        """Ask and print the answer as it comes; stopped, the clips wait for the next question."""
        try:
            for piece in self.conversation.ask(question, self.waiting):
                typer.echo(piece, nl=False)
            typer.echo()
        except Exception as error:  # one bad turn does not end the conversation
            typer.echo(f"error: {error_of(error, 'the turn')}", err=True)
            if self.waiting:
                typer.echo(f"left out: {', '.join(self.waiting)}", err=True)
        except KeyboardInterrupt:
            typer.echo("\nstopped; that question counts as never asked", err=True)
            return
        self.waiting = []

    def _add(self, path: str) -> None:
        if not path:
            raise ConfigError("/add names no clip", fix="/add PATH")
        with contextlib.suppress(RuntimeError):  # ~NAME of nobody here: a name like any other
            path = str(Path(path).expanduser())
        check_readable([path])
        self.waiting.append(path)

    def _record(self, seconds: str) -> None:
        import soundfile

        from desta.audio import SAMPLE_RATE
        from desta.audio.microphone import record

        samples = record(_wait(seconds))
        self._folder = self._folder or Path(tempfile.mkdtemp(prefix="desta-chat-"))
        path = self._folder / f"recording-{len(list(self._folder.iterdir())) + 1}.wav"
        soundfile.write(path, samples, SAMPLE_RATE)
        self.waiting.append(str(path))
        typer.echo(f"{path}: {len(samples) / SAMPLE_RATE:.1f} s", err=True)

    def _system(self, text: str) -> None:
        before = self.conversation.messages[:1]
        has_one = bool(before) and before[0].role == "system"
        if text:
            rest = self.conversation.messages[1 if has_one else 0 :]
            self.conversation.messages = [Message(role="system", content=text), *rest]
        else:
            typer.echo(before[0].content if has_one else "(that of the server)")

    def _save(self, name: str) -> None:
        if not name:
            raise ConfigError("/save names no file", fix="/save FILE")
        path = Path(name)
        check_output(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write = _as_markdown if path.suffix == ".md" else _as_jsonl
        with atomic_file(path) as file:
            file.write("".join(map(write, self.conversation.messages)).encode())
        typer.echo(f"{path}: {len(self.conversation.messages)} turns", err=True)


def _wait(seconds: str) -> Callable[[], Any]:
    """Return what waits for the end of a recording."""
    if not seconds:
        return lambda: input("recording; Enter ends it ")
    try:
        length = float(seconds)
    except ValueError:
        length = 0
    if not 0 < length <= 3600:
        raise ConfigError(f"{seconds} is no time in seconds", fix="/record 5")
    return lambda: time.sleep(length)


def _as_jsonl(message: Message) -> str:
    return json.dumps(message.to_json(), ensure_ascii=False) + "\n"


def _as_markdown(message: Message) -> str:
    """Return a turn: its clips with their transcriptions, then its text."""
    clips = "".join(
        f"- `{clip.audio}`: {(clip.text or NO_TRANSCRIPTION).strip() or 'no speech'}\n"
        for clip in message.audios
    )
    text = message.content.replace(LOCATOR, "").strip()
    return f"**{message.role}**\n\n{clips}{chr(10) if clips else ''}{text}\n\n"
