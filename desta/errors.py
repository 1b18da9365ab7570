"""Errors that a user can cause and fix; any other exception is a bug and keeps its traceback.

DestaError
├── ConfigError       a recipe or an option
├── DataError         a corpus, a recording, a shard
│   └── UnavailableError  a service that does not respond for now
├── CheckpointError   weights that do not fit
│   └── NoNumberError     a model that computes NaN
└── MissingExtraError a package that belongs to an extra
"""

import importlib
from types import ModuleType
from typing import Any


class DestaError(Exception):
    """Base class of user errors: one sentence with the fault, one with the fix."""

    def __init__(self, message: str, *, fix: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.reason = reason or message
        """Fixed text, without names or numbers, by which errors are counted."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling between processes, which would lose the keywords."""
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
    """A service does not respond; the same command continues once it does."""


class CheckpointError(DestaError):
    """Stored weights do not fit the model they are loaded into."""


class NoNumberError(CheckpointError):
    """A model computes NaN: it is damaged, or its input is out of range."""


class MissingExtraError(DestaError):
    """A package of one of the extras is not installed."""


def need(module: str, *, extra: str, to: str) -> ModuleType:
    """Import a package that belongs to an extra.

    Args:
        module: name to import, for example `accelerate`.
        extra: the extra of this package that brings it.
        to: purpose for the error message, an infinitive clause: `train a connector`.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f'the package "{module}" is needed to {to}', fix=f'pip install "desta[{extra}]"'
        ) from error
