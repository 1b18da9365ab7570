"""Data sets of benchmarks on the Hub, at a commit."""

import re
from collections.abc import Sequence
from pathlib import Path

from desta.errors import ConfigError, DataError

HUB = "hub"
"""As `data` of a recipe: every part from its own place, at the commit that is pinned here."""


def fetch(repository: str, revision: str, patterns: Sequence[str]) -> Path:
    """Return the folder of a data set of the Hub, downloaded where it is not there yet.

    Args:
        repository: `owner/name`.
        revision: the full commit: names of branches move.
        patterns: which files, such as `bbh/*.parquet`.

    Raises:
        ConfigError: the revision is no commit.
        DataError: the Hub cannot be reached, or does not have it.
    """
    from huggingface_hub import snapshot_download  # slow, and few evaluations fetch
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ConfigError(
            f'revision "{revision}" of {repository} is not a commit',
            fix="give the 40 digits of a commit, so that the figures can be made again",
        )
    try:
        return Path(
            snapshot_download(
                repository, repo_type="dataset", revision=revision, allow_patterns=list(patterns)
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise DataError(
            f"{repository} at {revision} cannot be fetched: {error}",
            fix="connect to the Hub, or give the folder where it was downloaded",
        ) from error
