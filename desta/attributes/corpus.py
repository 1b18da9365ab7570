"""The clips that are measured: read from the disk as often as they are needed, and never held."""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from desta.errors import DataError
from desta.records import Clip, stream_clips

KEY_BYTES = 16


class Corpus:
    """A `clips.jsonl` and the folder of its recordings."""

    def __init__(self, path: Path, root: Path) -> None:
        """Read all clips once.

        Args:
            path: of `clips.jsonl`.
            root: folder that its paths are relative to.

        Raises:
            DataError: clips are missing or not in the clip format, or the root is no folder.
        """
        self.root = root
        self._path = path
        self._state = self._look()
        digests = bytearray()
        for clip in stream_clips(path):
            digests += _digest(root, clip)
        if not root.is_dir():
            raise DataError(
                f"{root} is not a folder", fix="give the folder of the corpus as --root"
            )
        self.keys: NDArray[np.bytes_] = np.frombuffer(digests, f"S{KEY_BYTES}")
        """(N,): what the values of each clip depend on, in their order."""

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Clip]:
        """Read the clips once more.

        Raises:
            DataError: they are others by now.
        """
        yield from islice(stream_clips(self._path), len(self))
        if self._look() != self._state:
            raise DataError(
                f"{self._path} was changed while it was measured",
                fix="give the same command again; what was measured is kept",
            )

    def _look(self) -> tuple[int, int] | None:
        if not self._path.is_file():  # reading it will say so
            return None
        found = self._path.stat()
        return found.st_size, found.st_mtime_ns


def _digest(root: Path, clip: Clip) -> bytes:
    """Return what a value depends on: another recording or other words, another key.

    A recording is known by size and time of change: to hash it is to read the whole corpus, each
    time the command goes on.
    """
    try:
        state = (root / clip.audio).stat()
        stamp = [state.st_size, state.st_mtime_ns]
    except (OSError, ValueError):  # reading it will say why
        stamp = None
    told = [clip.id, clip.audio, stamp, clip.domain, [vars(s) for s in clip.segments]]
    return hashlib.sha256(json.dumps(told).encode()).digest()[:KEY_BYTES]
