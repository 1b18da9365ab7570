"""Base types of sources: the metadata that readers yield, and the table row of a corpus."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from desta.errors import DataError
from desta.records import Domain, Segment, Split


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Metadata of a recording, before the recording itself is opened."""

    id: str
    """Unique within the corpus; the id of the clip is `source/id`."""
    audio: str
    """Path relative to the root of the corpus."""
    domain: Domain | None = None
    """None where the corpus is of one domain."""
    segments: tuple[Segment, ...] = ()
    """An infinite end stands for the end of the recording."""
    attributes: Mapping[str, str | None] = field(default_factory=dict)
    """Attribute -> value, in the order of the seed description; None or empty where unknown."""
    group: str | None = None
    """Voice, instrument or session of the recording, named alike in every corpus that has it
    (`voice/Allison Smith`): no two splits share one. None leaves it to words and bytes."""
    split: Split | None = None
    """Split that the corpus prescribes; None leaves it to `assign_splits`. Corpora in which
    everyone reads the same few sentences prescribe training, as `assign_splits` would put nearly
    all of them into one split; so do corpora of one or two voices. `describe(held_out=...)` puts
    a whole corpus elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A recording that is left out, with the reason."""

    id: str
    reason: str
    """Fixed text by which recordings are counted."""
    broken: bool = False
    """True for damage (unreadable, missing); False for recordings that are left out on purpose."""


Reader = Callable[[Path], Iterator[Metadata | Skipped]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A corpus and the reader of its metadata."""

    name: str
    title: str
    domains: tuple[Domain, ...]
    licence: str
    obtain: str
    """Place to get it from, with terms and price."""
    layout: Literal["confirmed", "believed"]
    """`confirmed` if the expected folders and files were looked up, else `believed`."""
    cited: str
    """Reference for the layout, or the grounds of the belief."""
    read: Reader
    """Root -> one item per recording, in a fixed order. If a corpus has official splits, only the
    training split is read, and the rest is `Skipped`."""
    packages: tuple[str, ...] = ()
    """Debian packages that bring the corpus."""
    fetch: Callable[[Path], list[str]] | None = None
    """Fetches into a folder what is in no Debian package; returns what was not there."""


OTHER_TEST = "a recording of another corpus's test split"
"""Reason for leaving out a recording that is in the test split of another corpus."""
NOT_WHOLE = "its entry is not whole"
"""Reason for leaving out an entry (`broken`) that lacks a field that all entries have."""


def source_facts(source: Source) -> dict[str, str]:
    """Return the facts about a corpus for tables."""
    return {
        "name": source.name,
        "title": source.title,
        "domains": ", ".join(source.domains),
        "licence": source.licence,
        "obtain": source.obtain,
        "layout": source.layout,
        "cited": source.cited,
    }


def spoken(text: str | None) -> tuple[Segment, ...]:
    """Return one segment over the whole recording; its text is None if the words are unknown."""
    return (Segment(start=0.0, end=math.inf, text=text),)


def find_folder(root: Path, inside: str, *, source: str, bring: str | None = None) -> Path:
    """Return a folder of the corpus; without `bring` the error names its Debian package.

    Raises:
        DataError: the folder is missing.
    """
    bring = bring or f"`desta sources fetch {source}` fetches it"
    return _find(root, inside, source, bring, "folder")


def find_file(root: Path, inside: str, *, source: str, bring: str) -> Path:
    """Return a file of the corpus.

    Args:
        root: folder of the corpus.
        inside: path below it.
        source: name of the corpus.
        bring: what to fetch or unpack, for the error message.

    Raises:
        DataError: the file is missing.
    """
    return _find(root, inside, source, bring, "file")


def _find(root: Path, inside: str, source: str, bring: str, kind: str) -> Path:
    path = root / inside
    if path.is_dir() if kind == "folder" else path.is_file():
        return path
    raise DataError(
        f"{source}: {path} is not a {kind}",
        fix=f"give as root the folder that holds {inside} ({bring}), "
        "or describe a corpus of your own with `desta describe custom`",
    )


def of_split(id: str, split: str) -> Skipped:
    """Return the `Skipped` of a recording that is not in the training split."""
    return Skipped(id=id, reason=f"of the official {split} split")


def readable(label: str) -> str:
    """Return a label in the form of seed descriptions.

    >>> readable("door_wood_knock")
    'Door wood knock'
    """
    words = label.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def relative_id(path: Path, folder: Path) -> str:
    """Return the path relative to a folder, without its suffix, with forward slashes."""
    return path.relative_to(folder).with_suffix("").as_posix()
