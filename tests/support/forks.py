"""Processes of their own that need not import torch and transformers again.

One process imports them, and every other one is forked from it: it has its own memory, streams,
exit code and signals, like one that a shell starts, but begins after milliseconds instead of
seconds. All of them have one seed of hashes, and libraries that read their environment only once;
where that or an import itself is at stake, `commands.run_afresh` starts a new interpreter.
"""

import atexit
import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import torch

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "desta",  # first: it silences what others say when they are imported
        *("datasets", "torch.utils.tensorboard", "transformers.models.llama.modeling_llama"),
        *("desta.api", "desta.cli", "desta.evaluation.models", "desta.evaluation.runner"),
        *("desta.construction.pipeline", "desta.inference.batch_file", "desta.training.loop"),
    ]
)


class Fork:
    """A running function, with the methods of `subprocess.Popen`."""

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: Any,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start a process.

        Args:
            function: of a module that can be imported by name; may end with `sys.exit`.
            arguments: of the function; they are pickled.
            cwd: working directory; None means that of this process.
            env: environment; None means that of this process.
        """
        self._folder = tempfile.TemporaryDirectory()
        self._streams = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        for path in self._streams:
            path.touch()
        place = cwd or Path.cwd(), dict(os.environ if env is None else env)
        self._process = _CONTEXT.Process(
            target=_run, args=(self._streams, *place, function, arguments)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        atexit.register(self.kill)  # what a failing test has left behind

    @property
    def returncode(self) -> int | None:
        """Exit code, or minus the number of the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, once it has ended."""
        self._process.join(timeout)
        if self.returncode is None:
            raise TimeoutExpired(str(self._process), timeout or 0)
        return self.returncode

    def wait_for_output(self) -> None:
        """Wait until it has printed something."""
        while not self.stdout:
            assert self.poll() is None, self.stderr
            time.sleep(0.001)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Return what it has printed to stdout and stderr, once it has ended."""
        self.wait(timeout)
        return self.stdout, self.stderr

    @property
    def stdout(self) -> str:
        """What it has printed until now."""
        return self._streams[0].read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        """What it has printed to stderr until now."""
        return self._streams[1].read_text(encoding="utf-8")

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def _run(
    streams: list[Path],
    cwd: Path,
    env: Mapping[str, str],
    function: Callable[..., object],
    arguments: tuple[Any, ...],
) -> None:
    """Call a function as in a process that a shell has started."""
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY), number)
    os.setsid()  # it can be killed with all that it has started
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    multiprocessing.set_start_method(None, force=True)  # type: ignore[arg-type]  # not this one
    torch.set_num_threads(1)  # as in tests/conftest.py
    sys.argv = ["python"]
    function(*arguments)
