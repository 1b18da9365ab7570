"""What a reader of a corpus hands on, and the row by which it is known."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from desta.errors import DataError
from desta.records import Domain, Segment, Split


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What the corpus says of a recording, before the recording itself is opened."""

    id: str
    """Unique within the corpus; the clip is called `source/id`."""
    audio: str
    """Path relative to the root of the corpus."""
    domain: Domain
    segments: tuple[Segment, ...] = ()
    """An end of infinity means the end of the recording."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """In the order in which they are to be written."""
    group: str | None = None
    """Voice, instrument or series of takes that it is a recording of, named alike in every corpus
    that has it (`voice/Allison Smith`): no two splits share one. None: words and bytes decide."""
    split: Split | None = None
    """Where the corpus itself puts the recording; None leaves it to `assign_splits`. Corpora of a
    handful of sentences, which everybody in them reads, are for training throughout: their texts
    would draw one split for all. So are corpora of a voice or two; `describe(held_out=...)` puts
    the whole of one elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A recording that is left out, and why."""

    id: str
    reason: str
    """The same words for every recording it befalls, so that they can be counted."""
    broken: bool = False
    """True for damage (unreadable, missing); False for what the corpus means to be so."""


Reader = Callable[[Path], Iterator[Metadata | Skipped]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A corpus and the reader of its metadata."""

    name: str
    title: str
    domains: tuple[Domain, ...]
    licence: str
    obtain: str
    """Where it comes from, and what has to be agreed to or paid."""
    layout: Literal["confirmed", "believed"]
    """Whether the folders and files that the reader expects were looked up or are remembered."""
    cited: str
    """Where the layout was looked up, or what the belief rests on."""
    read: Reader
    """Root -> one item for every recording, in an order that does not change. Of a corpus with
    official splits only the training split is read; the rest is `Skipped`."""
    packages: tuple[str, ...] = ()
    """Debian packages that bring the corpus."""


OTHER_TEST = "a recording of another corpus's test split"
"""Why a recording is left out that the corpus shares with one that keeps it for a test."""
NOT_WHOLE = "its entry is not whole"
"""Why an entry is left out (`broken`) that lacks something every entry has."""


def source_facts(source: Source) -> dict[str, str]:
    """Return what a user has to know of a corpus, as tables show it."""
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
    """Return one segment that fills the recording; None where the words are unknown."""
    return (Segment(start=0.0, end=math.inf, text=text),)


def find_folder(root: Path, inside: str, *, source: str, bring: str | None = None) -> Path:
    """Return a folder of the corpus; if nothing is said of `bring`, it is in a Debian package.

    Raises:
        DataError: it is not there.
    """
    bring = bring or f"`desta sources fetch {source}` fetches it"
    return _find(root, inside, source, bring, "folder")


def find_file(root: Path, inside: str, *, source: str, bring: str) -> Path:
    """Return a file of the corpus.

    Args:
        root: folder of the corpus.
        inside: path below it.
        source: name of the corpus.
        bring: what to fetch or unpack where the file is missing.

    Raises:
        DataError: it is not there.
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
    """Leave out a recording that the corpus keeps for another purpose than training."""
    return Skipped(id=id, reason=f"of the official {split} split")


def readable(label: str) -> str:
    """Return a label as it is written in a description.

    >>> readable("door_wood_knock")
    'Door wood knock'
    """
    words = label.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def stated(attributes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the attributes that have a value, in their order."""
    return {name: value for name, value in attributes.items() if value}


def relative_id(path: Path, folder: Path) -> str:
    """Return the path below a folder without its suffix, with forward slashes."""
    return path.relative_to(folder).with_suffix("").as_posix()
