"""Corpora in Debian packages, unpacked into a folder without root rights."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from desta.errors import DataError

_MARKERS = ".packages"
_OWN = "or describe recordings of your own with `desta describe custom`"


def fetch_packages(dest: Path, packages: Sequence[str]) -> list[str]:
    """Download and unpack packages, as `dest/usr/share/...`; existing ones are kept.

    Args:
        dest: folder, created if missing.
        packages: names, for example `Source.packages`.

    Returns:
        The newly fetched packages.

    Raises:
        DataError: Debian's tools are missing, or a package cannot be downloaded or unpacked.
    """
    markers = dest / _MARKERS
    missing = [name for name in dict.fromkeys(packages) if not (markers / name).is_file()]
    if not missing:
        return []
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise DataError(
                f'the program "{tool}" is missing, so packages cannot be fetched',
                fix=f"use a Debian or Ubuntu system, {_OWN}",
            )
    markers.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dest) as folder:
        _download(missing, Path(folder))
        for name in missing:
            for file in Path(folder).glob(f"{name}_*.deb"):
                _unpack(file, dest)
                (markers / name).touch()  # last, so that an interrupted package is fetched again
    if absent := [name for name in missing if not (markers / name).is_file()]:
        raise DataError(f"the download lacks {', '.join(absent)}", fix=f"try again, {_OWN}")
    return missing


def _download(packages: Sequence[str], folder: Path) -> None:
    result = _run(["apt-get", "-q", "download", *packages], folder)
    if result.returncode and os.geteuid() == 0:  # usually the lists are empty or old
        _run(["apt-get", "-q", "update"], folder)
        result = _run(["apt-get", "-q", "download", *packages], folder)
    if result.returncode:
        raise DataError(
            f"apt-get cannot download {', '.join(packages)}: {_last_line(result.stderr)}",
            fix=f"run `sudo apt-get update` and try again, {_OWN}",
        )


def _unpack(file: Path, dest: Path) -> None:
    result = _run(["dpkg", "-x", file.name, str(dest.resolve())], file.parent)
    if result.returncode:
        raise DataError(
            f"{file.name} cannot be unpacked: {_last_line(result.stderr)}",
            fix=f"make room in {dest} and try again",
        )


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it gives no reason"
