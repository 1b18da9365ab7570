"""Upload of a data set to the Hub."""

from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from desta.errors import ConfigError, DataError
from desta.model.hub.zoo import NO_HUB
from desta.publishing.card import CARD
from desta.shards import MANIFEST, shard_paths


class Api(Protocol):
    """Methods used of `huggingface_hub.HfApi`."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> Any:
        """Create a repository."""

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, repo_type: str, allow_patterns: list[str]
    ) -> Any:
        """Upload the files of a folder that match the patterns, in one commit."""


def check_access(name: str) -> None:
    """Check name and token before anything is written or sent.

    Raises:
        ConfigError: the name is malformed, uploads are disabled, or there is no token.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ConfigError(_line(error), fix="give OWNER/NAME") from error
    if "/" not in name:
        raise ConfigError(f'"{name}" names no owner', fix="give OWNER/NAME")
    if constants.HF_HUB_OFFLINE:
        raise ConfigError("HF_HUB_OFFLINE forbids uploads", fix="unset it")
    if get_token() is None:
        raise ConfigError(
            "the Hub requires a token for uploads, and none is stored here",
            fix="run `hf auth login`, or set HF_TOKEN to a token with write access",
        )


def upload(folder: Path, name: str, *, private: bool = True, api: Api | None = None) -> list[str]:
    """Upload a data set directory, or its Parquet export, to the Hub.

    Only the rows, the card and the manifest are uploaded.

    Args:
        folder: directory with `README.md`, and shards or `data/*.parquet`.
        name: OWNER/NAME of the repository; created if missing.
        private: whether a created repository is private.
        api: client to upload with; None for the Hub with the stored token.

    Returns:
        The names of the uploaded files.

    Raises:
        ConfigError: the token has no write access.
        DataError: the folder has no card or no rows, or the connection broke.
    """
    files = _files(folder)
    api = api or HfApi()
    try:
        api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name, folder_path=folder, repo_type="dataset", allow_patterns=files
        )
    except HfHubHTTPError as error:
        raise ConfigError(
            f"the Hub refuses {name}: {_line(error)}",
            fix="check the name, and that the token has write access",
        ) from error
    except NO_HUB as error:
        raise DataError(
            f"the upload was interrupted: {_line(error)}",
            fix="give the command again; files already uploaded are not sent twice",
        ) from error
    return files


def _files(folder: Path) -> list[str]:
    """Return the names of the files to upload, relative to the folder."""
    tables = sorted(path.relative_to(folder).as_posix() for path in folder.glob("data/*.parquet"))
    rows = tables or [path.name for path in shard_paths(folder)]
    others = [name for name in (CARD, MANIFEST) if (folder / name).is_file()]
    if CARD not in others:
        raise DataError(f"{folder} has no {CARD}", fix=f"desta inspect {folder} --card")
    return [*others, *rows]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
