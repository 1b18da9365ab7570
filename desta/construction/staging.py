"""Staging folder in which a data set is built, before it replaces the old one.

    building/audio-00000.jsonl ...   shards
    building/dropped.ndjson          dropped responses
    building/manifest.json           written when all of that is on the disk

Once this manifest exists, the new data set is complete, and its files are moved up one by one, the
manifest last. Until then the old data set is not touched.
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
from desta.shards import MANIFEST, Manifest, ShardFile, ShardWriter

BUILDING = "building"
DROPPED = "dropped.ndjson"
"""Every dropped response with its reason. Not `.jsonl`: that would make it a shard."""


class Building:
    """Writer of a data set in the staging folder."""

    def __init__(self, out: Path, *, rows_per_shard: int) -> None:
        """Create an empty staging folder.

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
        """File of dropped responses."""
        self._rejects = self.rejects.open("wb")

    def keep(self, pair: AudioTextPair) -> None:
        """Add a pair to the shards."""
        self._shards.add(pair)

    def drop(self, pair: AudioTextPair, reason: str, *, message: str | None = None) -> None:
        """Add a pair to the dropped ones, with the message of a refusal if there is no response."""
        refusal = {} if message is None else {"message": message}
        record = {"reason": reason, **refusal, **pair.to_json()}
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
        """Close files that are still open after an error."""
        if kind is not None:
            # A full disk fails again here; the first error is being raised already.
            with suppress(OSError):
                self._rejects.close()
            with suppress(OSError):
                self._shards.abandon()

    def close(self) -> tuple[ShardFile, ...]:
        """Flush everything to the disk; return the shards."""
        with self._rejects as file:
            file.flush()
            os.fsync(file.fileno())
        shards = self._shards.close()
        sync(self.folder)
        return shards

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest and publish the data set."""
        manifest.write(self.folder)
        publish(self._out)


def publish(out: Path) -> None:
    """Move a complete staged data set to its place, or continue a move that was killed.

    An incomplete data set is removed, and will be built again from the journal.
    """
    folder = out / BUILDING
    manifest = Manifest.read(folder)
    if manifest is not None:
        (out / MANIFEST).unlink(missing_ok=True)  # marks the directory as unfinished
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
