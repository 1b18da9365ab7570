"""The folder in which a data set is built, and how it takes the place of what was there.

    building/audio-00000.jsonl ...   shards, as they come
    building/dropped.ndjson          what was not kept, as it comes
    building/manifest.json           written when all of that is on the disk

From the moment when that manifest is there, the new data set is complete, and is moved up file by
file, its manifest last. Before, nothing of what stood there is touched.
"""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from desta.files import UNWRITABLE, sync
from desta.records import AudioTextPair
from desta.shards import MANIFEST, Manifest, Shard, ShardWriter

BUILDING = "building"
DROPPED = "dropped.ndjson"
"""Every dropped response with its reason. Not `.jsonl`: that would make it a shard."""


class Building:
    """A data set that is being written."""

    def __init__(self, out: Path, *, rows_per_shard: int) -> None:
        """Begin, without what an interrupted call left behind.

        Args:
            out: directory of the data set.
            rows_per_shard: pairs in each shard but the last.
        """
        self._out = out
        self.folder = out / BUILDING
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self._shards = ShardWriter(self.folder, rows_per_shard=rows_per_shard)
        self.rejects = self.folder / DROPPED
        """File of what was dropped."""
        self._rejects = self.rejects.open("wb")

    def keep(self, pair: AudioTextPair) -> None:
        """Add a pair to the shards."""
        self._shards.add(pair)

    def drop(self, pair: AudioTextPair, reason: str, *, message: str | None = None) -> None:
        """Add a pair to those that were dropped, with what was said where there is no response."""
        said = {} if message is None else {"message": message}
        record = {"reason": reason, **said, **pair.to_json()}
        line = f"{json.dumps(record, ensure_ascii=False)}\n"
        self._rejects.write(line.encode(errors=UNWRITABLE))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave no file open where the work ended before `close`."""
        if kind is not None:
            # A full disk fails once more here; what ended the work is told already.
            with suppress(OSError):
                self._rejects.close()
            with suppress(OSError):
                self._shards.abandon()

    def close(self) -> tuple[Shard, ...]:
        """Wait until everything is on the disk; return the shards."""
        with self._rejects as file:
            file.flush()
            os.fsync(file.fileno())
        shards = self._shards.close()
        sync(self.folder)
        return shards

    def finish(self, manifest: Manifest) -> None:
        """Let the data set take its place."""
        manifest.write(self.folder)
        publish(self._out)


def publish(out: Path) -> None:
    """Move a complete data set to its place, or go on where a killed process stopped.

    A data set that is not complete is removed: it will be built again from the journal.
    """
    folder = out / BUILDING
    manifest = Manifest.read(folder)
    if manifest is not None:
        (out / MANIFEST).unlink(missing_ok=True)  # from here on the directory is unfinished
        sync(out)
        names = {shard.name for shard in manifest.shards}
        for path in out.glob("audio-*.jsonl"):
            if path.name not in names:
                path.unlink()
        for name in (*names, DROPPED):
            if (folder / name).exists():
                (folder / name).replace(out / name)
        sync(out)
        (folder / MANIFEST).replace(out / MANIFEST)
        sync(out)
    shutil.rmtree(folder, ignore_errors=True)
