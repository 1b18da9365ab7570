"""Storage of sounds extracted from larger files, below the root of the corpus."""

import hashlib
from pathlib import Path

from desta.files import write_atomic

RECORDINGS = "recordings"
"""Folder below the root."""


def keep(root: Path, prefix: str, suffix: str, sound: bytes) -> str:
    """Store a sound, unless it exists already; return its path relative to the root.

    The name ends in a hash of the content, so that rows of a newer release never get sounds of an
    older one.

    Args:
        root: folder of the corpus.
        prefix: beginning of the path below `recordings`.
        suffix: ending of the file, such as ".wav".
        sound: the bytes of the file.
    """
    digest = hashlib.sha256(sound).hexdigest()[:16]
    path = Path(RECORDINGS, f"{prefix}{digest}{suffix}")
    target = root / path
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, sound)
    return path.as_posix()
