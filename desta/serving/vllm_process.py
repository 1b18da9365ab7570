"""A stock vLLM beside the gateway: started with the backbone, watched, and ended with it."""

import logging
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from desta.errors import ConfigError, UnavailableError
from desta.inference.engine import Engine
from desta.model.backbone.chat import dated
from desta.serving.replicas import library

log = logging.getLogger(__name__)

_MODULE = "vllm.entrypoints.openai.api_server"
_NAME = "backbone"
_STOP_SECONDS = 30.0
_LAST_LINES = 200
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class VllmSettings:
    """How to start vLLM."""

    python: Path
    """Python of the environment that holds it."""
    log: Path = Path("vllm.log")
    """File that its output is appended to."""
    options: Sequence[str] = ()
    """More options of it, such as `--gpu-memory-utilization 0.8`."""
    start_seconds: float = 1800.0
    """Longest time until it is ready; a large model is read and compiled for."""

    def __post_init__(self) -> None:
        if not self.python.is_file():
            raise ConfigError(
                f"{self.python} is not there", fix="make vllm-env, or give --vllm-python"
            )


class VllmProcess:
    """A vLLM process on loopback; a context manager that starts and ends it."""

    def __init__(self, settings: VllmSettings, engine: Engine) -> None:
        """Create a process; entering it starts it and waits until it is ready.

        Args:
            settings: how to start it.
            engine: the model whose backbone it serves.

        Raises:
            ConfigError: the backbone is no directory or has LoRA.
        """
        backbone = engine.model.config.backbone
        if engine.model.config.lora is not None:
            raise ConfigError(
                "the checkpoint updates its backbone by LoRA, and vLLM would serve it without",
                fix="serve it without --vllm",
            )
        if engine.parts.backbone.is_gguf:
            raise ConfigError(
                f"{backbone} is a GGUF file, which a stock vLLM does not read",
                fix="serve it without --vllm, or start a server that reads it, and give --upstream",
            )
        self.key = secrets.token_hex(16)
        self._settings = settings
        self._port = _free_port()
        self._command = self._written(engine)
        self._template = dated(engine.tokenizer.chat_template)
        self._changes_template = self._template != engine.tokenizer.chat_template
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: TemporaryDirectory[str] | None = None
        self._is_closing = False
        self._handler: Any = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        """Start it and wait until it is ready.

        Raises:
            UnavailableError: it ends, or is not ready in time.
        """
        command = list(self._command)
        if self._changes_template:  # it asks for today's date
            self._folder = TemporaryDirectory(prefix="desta-vllm-")
            file = Path(self._folder.name, "chat_template.jinja")
            file.write_text(self._template, encoding="utf-8")
            command += ["--chat-template", str(file)]
        # without a handler of its own, SIGTERM would end this process and leave vLLM behind
        self._handler = signal.signal(signal.SIGTERM, _leave)
        log.info("starting vLLM; its log is %s", self._settings.log)
        try:
            with self._settings.log.open("ab") as output:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=os.environ | {"VLLM_API_KEY": self.key},
                    start_new_session=True,  # Ctrl-C ends the requests first, then vLLM
                )
        except OSError as error:
            raise ConfigError(
                f"vLLM cannot be started: {error.strerror}", fix="check --vllm-python and its log"
            ) from None
        try:
            self._wait(self._process)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        threading.Thread(target=self._watch, args=[self._process], daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it with all its processes."""
        self._is_closing = True
        process = self._process
        if process is not None and process.poll() is None:
            _signal(process, signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                log.warning("vLLM does not end by itself, and is killed")
        if process is not None:
            _signal(process, signal.SIGKILL)  # workers that it may have left
            process.wait()
        if self._folder is not None:
            self._folder.cleanup()
        signal.signal(signal.SIGTERM, self._handler)

    def _written(self, engine: Engine) -> list[str]:
        """Return the command."""
        dtype = str(engine.model.llm_model.get_input_embeddings().weight.dtype)
        return [
            str(self._settings.python),
            *("-m", _MODULE),
            *("--model", engine.parts.backbone.place),
            *("--served-model-name", _NAME),
            *("--host", "127.0.0.1"),
            *("--port", str(self._port)),
            *("--dtype", dtype.removeprefix("torch.")),
            "--enable-prompt-embeds",
            "--enable-prompt-tokens-details",  # how many were cached
            *("--max-logprobs", "20"),
            *self._settings.options,
        ]

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until it is ready."""
        http = library()
        end = time.monotonic() + self._settings.start_seconds
        with http.Client(trust_env=False, timeout=_LOOK_SECONDS) as client:
            while time.monotonic() < end:
                if process.poll() is not None:
                    raise UnavailableError(self._epitaph(process), fix=self._advice())
                try:
                    if client.get(f"{self.url}/health").status_code == 200:
                        return
                except http.HTTPError:
                    time.sleep(_LOOK_SECONDS)
        raise UnavailableError(
            f"vLLM is not ready after {self._settings.start_seconds:g} s", fix=self._advice()
        )

    def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Report when it ends by itself."""
        process.wait()
        if not self._is_closing:
            log.error("%s; %s", self._epitaph(process), self._advice())

    def _epitaph(self, process: "subprocess.Popen[bytes]") -> str:
        """Return how it ended, with the last error of its log."""
        code = process.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        said = _last_error(self._settings.log)
        return f"vLLM has ended with {how}{f': {said}' if said else ''}"

    def _advice(self) -> str:
        return f"read {self._settings.log}, then start again: {shlex.join(self._command[:3])} ..."


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Send a signal to a process and all that it started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _last_error(path: Path) -> str:
    """Return the last line of a log that names an error; empty if none does."""
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = deque(file, _LAST_LINES)
    found = [line.strip() for line in lines if "Error: " in line or "error: " in line]
    return found[-1].rpartition("] ")[2][:300] if found else ""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
