"""Regeneration: the prompts of a finished data set, with new responses by another backbone.

Rows hold no metadata of a clip beside the seed description, so filters that compare a response with
the metadata cannot be used (`NEED_METADATA`).
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from desta.construction.filtering import ResponseFilter
from desta.construction.groups import BLOCK
from desta.construction.messages import generation_messages
from desta.construction.plan import Job
from desta.construction.prompts import PoolName, Prompt, load_pool
from desta.construction.row_checks import Row, clips_of, descriptions_of, find_row_fault
from desta.errors import DataError
from desta.isolation import printable
from desta.records import DOMAINS, AudioTextPair, Clip, read_lines
from desta.shards import Manifest, shard_paths

OTHER_KIND = "other"
"""Kind of prompts that are not in the pools."""

RowBlock = list[tuple[int, Row | DataError]]
"""Consecutive rows with their numbers."""


@dataclass(frozen=True, kw_only=True)
class RowPlan:
    """Rows that get new responses."""

    paths: tuple[Path, ...]
    kinds: dict[str, str]
    """Prompt -> kind."""
    prompt_pool: str
    """SHA-256 of the prompt pools in the manifest of the rows; empty without a manifest."""

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        count = 0
        for path in self.paths:
            with path.open("rb") as file:
                count += sum(1 for _ in file)
        return count

    def jobs(self, response_filter: ResponseFilter) -> Iterator[Job]:
        """Yield the jobs of usable rows, in order; the others are counted."""
        for number, row in self._rows():
            fault = _why_not(row)
            if fault is None:
                yield self._job(row, number)
            else:
                id = None if isinstance(row, DataError) else row.get("id")
                response_filter.dropped.add(
                    f"its row {fault}", printable(str(id or f"row {number}"))
                )

    def blocks(self) -> Iterator[RowBlock]:
        """Yield all rows in blocks."""
        rows = self._rows()
        while block := list(itertools.islice(rows, BLOCK)):
            yield block

    def jobs_of(self, block: RowBlock) -> Iterator[Job]:
        """Yield the jobs of the usable rows of a block."""
        for number, row in block:
            if _why_not(row) is None:
                yield self._job(row, number)

    def _rows(self) -> Iterator[tuple[int, Row | DataError]]:
        lines = itertools.chain.from_iterable(map(read_lines, self.paths))
        return enumerate(record for _, record in lines)

    def _job(self, row: Row | DataError, number: int) -> Job:
        assert not isinstance(row, DataError), "it was left out"
        texts = {name: row.get(name) or "" for name in ("id", "dataset", "prompt")}
        pair = AudioTextPair.from_json({**row, **texts, "response": ""})
        heard = [clip for message in pair.messages for clip in message.audios]
        clip = Clip(
            id=pair.id or f"row {number}",
            source=pair.dataset,
            audio=heard[0].audio if heard else "",
            duration=0.0,
            domain="speech",
        )
        return Job(
            id=pair.id,
            clip=clip,
            prompt=Prompt(text=pair.prompt, kind=self.kinds.get(pair.prompt, OTHER_KIND)),
            description=pair.seed_description,
            messages=pair.messages,
            request=generation_messages(pair.messages, *descriptions_of(row)),
        )


def plan_rows(directory: Path, prompts: Path | None) -> RowPlan:
    """Plan the regeneration of a data set, with or without a manifest.

    Args:
        directory: shards of the data set.
        prompts: folder with custom prompt pools; None for those of this package.

    Raises:
        DataError: a shard is missing.
        ConfigError: a prompt pool is broken.
    """
    manifest = Manifest.read(directory)
    return RowPlan(
        paths=tuple(shard_paths(directory)),
        kinds=kinds_of_prompts(prompts),
        prompt_pool=manifest.prompt_pool if manifest else "",
    )


def kinds_of_prompts(prompts: Path | None) -> dict[str, str]:
    """Return prompt -> kind of all pools; a custom folder need not have `multi.txt`.

    Raises:
        ConfigError: a pool is missing or broken.
    """
    names: list[PoolName] = [*DOMAINS]
    if prompts is None or (prompts / "multi.txt").is_file():
        names.append("multi")
    return {p.text: p.kind for name in names for p in load_pool(name, prompts)}


def _why_not(row: Row | DataError) -> str | None:
    """Return the countable reason why a row has no request; None if it has one."""
    if isinstance(row, DataError):
        return row.reason
    # The response of the row is replaced, so it may be missing.
    if fault := find_row_fault({**row, "response": "-"}):
        return fault
    clips = clips_of(row)
    if clips and not (row.get("seed_description") or "").strip():
        return "has no seed_description"
    if len(clips) > 1 and len(descriptions_of(row)) != len(clips):
        return "has several clips and not one line of description for each"
    if row["messages"][-1]["role"] != "user":
        return "does not end with a question"
    return None
