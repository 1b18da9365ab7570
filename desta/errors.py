"""What a user can cause and mend; everything else is a bug and keeps its traceback.

DestaError
├── ConfigError       a recipe or an option
├── DataError         a corpus, a recording, a shard
│   └── UnavailableError  a service that may be well again later
├── CheckpointError   weights that do not fit
│   └── NoNumberError     weights that make NaN of what they are given
└── MissingExtraError a package that belongs to an extra
"""

import importlib
from types import ModuleType
from typing import Any


class DestaError(Exception):
    """One sentence that says what is wrong, and one that says what to do."""

    def __init__(self, message: str, *, fix: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.reason = reason or message
        """The same words for everything it befalls, by which it can be counted."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let errors cross processes: pickling would lose the keywords."""
        return _rebuild, (type(self), self.message, self.fix, self.reason)

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}"


def _rebuild(kind: type[DestaError], message: str, fix: str, reason: str) -> DestaError:
    error = kind.__new__(kind)
    DestaError.__init__(error, message, fix=fix, reason=reason)
    return error


class ConfigError(DestaError):
    """A recipe or an option is wrong."""


class DataError(DestaError):
    """A corpus, a recording or a shard is missing, broken or empty."""


class UnavailableError(DataError):
    """A service does not answer now; the same command goes on when it is well again."""


class CheckpointError(DestaError):
    """Stored weights do not fit the model they are loaded into."""


class NoNumberError(CheckpointError):
    """A model computes NaN: it is damaged, or what it was given is beyond it."""


class MissingExtraError(DestaError):
    """A package is missing that one of the extras brings."""


def need(module: str, *, extra: str, to: str) -> ModuleType:
    """Import a package that belongs to an extra, or say which extra to install.

    Args:
        module: name to import, for example `accelerate`.
        extra: the extra of this package that brings it.
        to: what the user wanted, an infinitive clause: `train a connector`.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f'the package "{module}" is needed to {to}', fix=f'pip install "desta[{extra}]"'
        ) from error
