"""Checks of paths that a user gives: local files, and outputs that can be written atomically."""

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from desta.errors import ConfigError, DataError

_URL = re.compile(r"(https?|ftps?|s3|gs|hf|file):/+(?=[^/])", re.IGNORECASE)
_NOT_FETCHED = "is a URL, and URLs are not fetched"
_NOT_WHOLE = "give the path of a regular or a new file"
_STREAMS = (1, 2)  # what this program prints


def check_local(path: str | Path) -> None:
    """Refuse a URL, also one whose `//` was reduced to `/` by `Path`.

    Raises:
        DataError: the path is a URL.
    """
    text = str(path)
    if found := _URL.match(text):
        lost = "//" if found[1].lower() == "file" else "/"
        url = text if "://" in text else text.replace(":/", f":/{lost}", 1)
        raise DataError(
            f"{url} {_NOT_FETCHED}",
            fix="download it first, and give the path of the file",
            reason=_NOT_FETCHED,
        )


def check_output(path: Path, *, in_folder: bool = False) -> None:
    """Refuse a path that no regular file can be written to, before anything is read.

    Links are followed.

    Args:
        path: output file.
        in_folder: whether its folder must exist already.

    Raises:
        ConfigError: the path is a folder, a pipe, a socket, a device or this program's own output,
            or its parent is not a folder, or a link points into a missing folder.
        DataError: the path is a URL.
    """
    found = _status(path)
    if found is None:
        folder = Path(os.path.realpath(path)).parent
        if (in_folder or path.is_symlink()) and not folder.is_dir():
            raise ConfigError(
                f"{path} cannot be written: the folder {folder} does not exist",
                fix="create it first",
            )
        return
    if stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path} is a folder, not a file", fix="name a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(
            f"{path} is a pipe, a socket or a device, and no file can be written there",
            fix=_NOT_WHOLE,
        )
    for stream in _STREAMS:
        with suppress(OSError):  # it is closed
            if os.path.samestat(found, os.fstat(stream)):
                raise ConfigError(f"{path} is where this program prints to", fix=_NOT_WHOLE)


def check_folder(path: Path) -> None:
    """Refuse a path that is not, and cannot become, a folder, before anything is read.

    Raises:
        ConfigError: the path or its parent is something other than a folder.
        DataError: the path is a URL.
    """
    found = _status(path)
    if found is None and path.is_symlink():
        raise ConfigError(f"{path} is a link that leads nowhere", fix="give another folder")
    if found is not None and not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path} is not a folder", fix="give a folder, or the path of a new one")


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a path, links followed; None if it does not exist."""
    check_local(path)
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: a zero byte, or a lone surrogate
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{str(path)!r} cannot be written: {why}", fix="give another path"
        ) from error
