"""Manifests of lhotse (JSONL, plain or gzipped) as a source; lhotse itself is not needed.

A clip is a cut, or a whole recording if there are no cuts; supervisions become its segments. The
section of a cut is stored as a file of its own, as the rest of its recording may belong to another
split.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from desta.audio import AudioError
from desta.errors import ConfigError, DataError
from desta.records import Domain, Split, read_jsonl
from desta.sources.base import Metadata, Skipped, Source
from desta.sources.custom import Columns, RowMap, check_name, group_rows
from desta.sources.cuts import cut as cut_out
from desta.sources.files import inside, keep
from desta.sources.glossary import gender_name
from desta.sources.tables import Row

_TOLERANCE = 0.05  # seconds of error in times of a manifest
_FIELDS = ("text", "speaker", "language")
_HARMLESS = ("Resample",)
"""Transforms in a manifest that can be ignored."""


@dataclass(frozen=True, kw_only=True)
class LhotseRecipe:
    """Recipe of a lhotse corpus: `cuts`, or `recordings` with or without `supervisions`."""

    name: str
    """Prefix of the id of every clip."""
    cuts: str | None = None
    """CutSet, relative to the root: .jsonl or .jsonl.gz."""
    recordings: str | None = None
    supervisions: str | None = None
    moved_from: str | None = None
    """Folder of the audio when the manifests were written; replaced by the root."""
    attributes: Mapping[str, str] = field(default_factory=lambda: {"Gender": "gender"})
    """Attribute -> field of a supervision, or custom field of supervision, cut or recording."""
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Attribute -> value in the manifest -> value in the description."""
    constants: Mapping[str, str] = field(default_factory=dict)
    """Attribute -> value for the whole corpus."""
    speakers: bool = False
    """Write the speaker in front of each segment; for conversations."""
    domain: Domain = "speech"
    split: Split | None = None
    """Split of the manifest; null lets `desta describe` assign splits."""
    licence: str = "not stated"

    def __post_init__(self) -> None:
        check_name(self.name)
        if (self.cuts is None) == (self.recordings is None):
            raise ConfigError(
                "a corpus is either cuts or recordings",
                fix='give "cuts: cuts.jsonl.gz", or "recordings: ..." and "supervisions: ..."',
            )
        if self.supervisions and self.cuts:
            raise ConfigError("cuts bring their own supervisions", fix="drop `supervisions`")
        _row_map(self)  # checks attributes, values and constants


def lhotse_source(recipe: LhotseRecipe) -> Source:
    """Create the source of a recipe."""

    def read(root: Path) -> Iterator[Metadata | Skipped]:
        by_clip: dict[str, list[Row]] = {}
        for item in _rows(recipe, root):
            if isinstance(item, Skipped):
                yield item
            else:
                by_clip.setdefault(item[0], []).append(item[1])
        rows = (
            (id, row)
            for id, found in by_clip.items()
            for row in sorted([r for r in found if "end" in r] or found, key=lambda r: r["start"])
        )
        yield from group_rows(_row_map(recipe), rows, root)

    return Source(
        name=recipe.name,
        title=f"{recipe.name}, from lhotse manifests",
        domains=(recipe.domain,),
        licence=recipe.licence,
        obtain="yours",
        layout="confirmed",
        cited="the manifests",
        read=read,
    )


def _row_map(recipe: LhotseRecipe) -> RowMap:
    return RowMap(
        columns=Columns(
            text="text",
            start="start",
            end="end",
            speaker="speaker" if recipe.speakers else None,
            language="language",
            split="split" if recipe.split else None,
        ),
        attributes={name: _column(name) for name in recipe.attributes},
        values=recipe.values,
        constants=recipe.constants,
        domain=recipe.domain,
    )


def _column(attribute: str) -> str:
    return f"attribute {attribute}"  # no field of a supervision has such a name


def _rows(recipe: LhotseRecipe, root: Path) -> Iterator[tuple[str, Row] | Skipped]:
    """Yield a row for every supervision, and for every cut or recording without any.

    Raises:
        DataError: a line is not in lhotse's format.
    """
    seen: set[tuple[str, str | None]] = set()  # a cut may be listed twice
    try:
        for span in _spans(recipe, root):
            if isinstance(span, Skipped):
                yield span
                continue
            recording, cut, supervisions = span
            if reason := _only_lhotse(recording):
                yield Skipped(id=str(recording["id"]), reason=reason)
                continue
            clip = _clip(recipe, root, recording, cut, supervisions)
            if isinstance(clip, Skipped):
                yield clip
                continue
            id, audio = clip
            fixed: Row = {"audio": audio, "split": recipe.split, "start": 0.0}
            for supervision in supervisions or [{"id": None}]:
                if (id, supervision["id"]) in seen:
                    continue
                seen.add((id, supervision["id"]))
                row = {**fixed, **_attributes(recipe, supervision, cut, recording)}
                if supervisions:
                    start = float(supervision["start"])
                    row |= {"start": max(start, 0.0), "end": start + float(supervision["duration"])}
                    row |= {name: supervision.get(name) for name in _FIELDS}
                yield id, row
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        manifest = root / (recipe.cuts or recipe.recordings or "")
        raise DataError(
            f"{manifest} is not a manifest of lhotse: {error!r}",
            fix="give a CutSet as `cuts`, a RecordingSet as `recordings`, a SupervisionSet as "
            "`supervisions`",
        ) from error


def _clip(
    recipe: LhotseRecipe, root: Path, recording: Row, cut: Row, supervisions: Sequence[Row]
) -> tuple[str, str] | Skipped:
    """Return id and path of the clip of a cut: the recording itself, or a section of it."""
    id, audio = str(recording["id"]), _audio(recipe, recording)
    if not cut or _is_whole(cut, recording):
        return id, audio
    start, duration = float(cut["start"]), float(cut["duration"])
    id = f"{id}/{round(start * 1000):07}-{round((start + duration) * 1000):07}"
    if any(_reaches_out(supervision, duration) for supervision in supervisions):
        return Skipped(id=id, reason="a cut in the middle of what is said")
    path = inside(root, audio)
    if path is None:
        return Skipped(id=id, reason="the recording lies outside the root", broken=True)
    channel = cut["channel"] if isinstance(cut["channel"], int) else min(cut["channel"])
    number = sorted(recording["sources"][0]["channels"]).index(channel)
    try:
        sound = cut_out(root / path, start=start, end=start + duration, channel=number)
    except AudioError as error:
        return Skipped(id=id, reason=error.reason, broken=True)
    name = f"{recipe.name}/{id}".replace("..", "__")  # ids may be paths
    return id, keep(root, f"{name}-", ".flac", sound)


def _is_whole(cut: Row, recording: Row) -> bool:
    missing = float(recording["duration"]) - float(cut["duration"])
    return max(float(cut["start"]), missing) <= _TOLERANCE and (
        len(recording["sources"][0]["channels"]) == 1
    )


def _reaches_out(supervision: Row, duration: float) -> bool:
    start = float(supervision["start"])
    end = start + float(supervision["duration"])
    return start < -_TOLERANCE or end > duration + _TOLERANCE


def _spans(recipe: LhotseRecipe, root: Path) -> Iterator[tuple[Row, Row, Sequence[Row]] | Skipped]:
    """Yield recording, cut (empty if there are none) and supervisions."""
    if recipe.cuts is not None:
        for line in read_jsonl(root / recipe.cuts):
            mixed = {"mixed": True} if "tracks" in line else {}
            for track in line.get("tracks", [{"cut": line}]):
                cut = track["cut"]
                if cut.get("type") != "PaddingCut":
                    yield cut["recording"] | mixed, cut, cut.get("supervisions") or []
        return
    found: dict[str, list[Row]] = {}
    if recipe.supervisions is not None:
        for supervision in read_jsonl(root / recipe.supervisions):
            found.setdefault(str(supervision["recording_id"]), []).append(supervision)
    for recording in read_jsonl(root / str(recipe.recordings)):
        yield recording, {}, found.pop(str(recording["id"]), [])
    for id in found:
        yield Skipped(id=id, reason="its recording is not in the RecordingSet", broken=True)


def _only_lhotse(recording: Row) -> str | None:
    """Return the reason why the recording does not exist as one file; None if it does."""
    if recording.get("mixed"):
        return "a mix that only lhotse can make"
    if any(t.get("name") not in _HARMLESS for t in recording.get("transforms") or ()):
        return "a change of the recording that only lhotse can make"
    if len(recording["sources"]) != 1:
        return "its channels lie in several files"
    if recording["sources"][0]["type"] != "file":
        return "its audio is not a file"
    return None


def _audio(recipe: LhotseRecipe, recording: Row) -> str:
    path = PurePosixPath(recording["sources"][0]["source"])
    if recipe.moved_from is not None and path.is_relative_to(recipe.moved_from):
        path = path.relative_to(recipe.moved_from)
    return str(path)


def _attributes(
    recipe: LhotseRecipe, supervision: Row, cut: Row, recording: Row
) -> Mapping[str, Any]:
    custom = [holder.get("custom") or {} for holder in (supervision, cut, recording)]
    found: dict[str, Any] = {}
    for name, key in recipe.attributes.items():
        value = next((f[key] for f in (supervision, *custom) if f.get(key) is not None), None)
        if key == "gender" and name not in recipe.values:
            value = gender_name(str(value)) or value
        found[_column(name)] = value
    return found
