"""Clips to measure, read from the disk again for every pass, so that memory stays small."""

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
            path: `clips.jsonl`.
            root: folder that its paths are relative to.

        Raises:
            DataError: clips are missing or not in the clip format, or the root is not a folder.
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
        """(N,): hash of all that the values of each clip depend on."""

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Clip]:
        """Read the clips again.

        Raises:
            DataError: the file has changed.
        """
        yield from islice(stream_clips(self._path), len(self))
        if self._look() != self._state:
            raise DataError(
                f"{self._path} was changed while it was measured",
                fix="give the same command again; what was measured is kept",
            )

    def _look(self) -> tuple[int, int] | None:
        if not self._path.is_file():  # reading it raises the error
            return None
        found = self._path.stat()
        return found.st_size, found.st_mtime_ns


def _digest(root: Path, clip: Clip) -> bytes:
    """Return a hash of the recording and the words of a clip.

    A recording is identified by size and modification time: hashing its content would read the
    whole corpus each time the command is resumed.
    """
    try:
        state = (root / clip.audio).stat()
        stamp = [state.st_size, state.st_mtime_ns]
    except (OSError, ValueError):  # reading it raises the error
        stamp = None
    parts = [clip.id, clip.audio, stamp, clip.domain, [vars(s) for s in clip.segments]]
    return hashlib.sha256(json.dumps(parts).encode()).digest()[:KEY_BYTES]
