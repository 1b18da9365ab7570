"""Transcriptions as people keep them, beside what was said.

    tables    JSONL, JSON, CSV, TSV: a row a recording, columns told by their names
    ids       text, `id words` a line as in Kaldi, ESPnet and lhotse, or `words (id)` as in sclite
    lines     text, a line a recording, in the same order in two files

What was said stands in the same table, or in a file of its own, in any of these forms.
"""

import difflib
import logging
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from desta.errors import ConfigError, DataError
from desta.evaluation.base import Item, ReadOptions, Result, form_messages
from desta.evaluation.benchmarks.transcription.recording_ids import check_ids, common_keys
from desta.evaluation.benchmarks.transcription.score import PROMPT, score
from desta.evaluation.benchmarks.transcription.scripts import find_language
from desta.evaluation.benchmarks.transcription.tables import (
    AUDIO_COLUMNS,
    HYPOTHESIS_COLUMNS,
    IDS,
    LANGUAGE_COLUMNS,
    REFERENCE_COLUMNS,
    TEXT_COLUMNS,
    Table,
    find_column,
    is_text,
    read_any_table,
    tell_columns,
    text_in,
)
from desta.evaluation.benchmarks.transcription.texts import read_text_lines, split_ids
from desta.evaluation.published_files import answered
from desta.records import LOCATOR, read_clip
from desta.sources.languages import LANGUAGES as NAMES

Side = Literal["reference", "hypothesis"]

_NAMES: Mapping[Side, tuple[str, ...]] = {
    "reference": REFERENCE_COLUMNS,
    "hypothesis": HYPOTHESIS_COLUMNS,
}
_FIX = 'name the columns "reference" and "hypothesis", or give --references FILE'
_FILE_NAMES: Mapping[Side, re.Pattern[str]] = {
    "reference": re.compile(
        r"(?<![a-z])(refs?|references?|gold|truth|gt|targets?|labels?)(?![a-z])"
    ),
    "hypothesis": re.compile(
        r"(?<![a-z])(hyps?|hypothes[ei]s|preds?|predict(ions?|ed)|outputs?|asr|decoded|results?)"
        r"(?![a-z])"
    ),
}
"""Meaning of a file's name, or its folder's."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Text of one recording in a file."""

    id: str | None
    """None where the file has nothing but an order."""
    audio: str | None = None
    language: str | None = None
    reference: str | None = None
    hypothesis: str | None = None


def read_published(paths: Sequence[Path], options: ReadOptions) -> list[Result]:
    """Read transcriptions, and what was said.

    Args:
        paths: tables that hold both, or transcriptions.
        options: of them `references`, what was said where `paths` do not hold that, also a
            `clips.jsonl`; and `language`, of all recordings, None: as the tables say.

    Raises:
        DataError: a file is missing, broken or empty, lacks a column or a line, or has an id twice.
    """
    references, language = options.references, options.language
    where = ", ".join(map(str, paths))
    if references is None:
        entries = [entry for path in paths for entry in _read_whole(path)]
        check_ids([entry.id for entry in entries], where)
    else:
        said = _read_side(references, "reference", paths)
        understood = [e for path in paths for e in _read_side(path, "hypothesis", [references])]
        check_ids([entry.id for entry in said], str(references))
        check_ids([entry.id for entry in understood], where)
        if all(map(is_text, (references, *paths))) and _has_ids(said) != _has_ids(understood):
            one, other = (references, paths[0])[:: 1 if _has_ids(said) else -1]
            raise DataError(
                f"lines of {one} begin with ids, and those of {other} do not, or have one twice",
                fix="give both with the same ids, none of them twice, or both without",
            )
        entries = _pair(said, understood, str(references), where)
    _warn_of_unknown([language] if language else [entry.language for entry in entries])
    return [_result(entry, number, language) for number, entry in enumerate(entries, start=1)]


def find_references(paths: Sequence[Path]) -> Path | None:
    """Return which of two files holds what was said, as their names tell; None where both do.

    Raises:
        ConfigError: neither does, nor tells.
        DataError: a file is missing, broken or empty.
    """
    if len(paths) != 2 or all(_is_whole(path) for path in paths):
        return None
    names = ["/".join(path.parts[-2:]).lower() for path in paths]
    for side in _FILE_NAMES:
        found = [_FILE_NAMES[side].search(name) is not None for name in names]
        if found[0] != found[1]:
            return paths[found.index(side == "reference")]
    raise ConfigError(
        f"{paths[0]} and {paths[1]} do not tell which of them holds what was said",
        fix="desta score transcription TRANSCRIPTIONS --references FILE",
    )


def _result(entry: Entry, number: int, language: str | None) -> Result:
    item = Item(
        id=entry.id or f"line {number}",
        messages=form_messages("", PROMPT, [entry.audio]) if entry.audio else (),
        question=PROMPT.replace(LOCATOR, "").strip(),
        target=entry.reference or "",
        groups={"language": language or entry.language or "unknown"},
    )
    return answered(item, entry.hypothesis, score)


def _warn_of_unknown(languages: Sequence[str | None]) -> None:
    unknown = [name for name in languages if name and name != "unknown" and not find_language(name)]
    for name in dict.fromkeys(unknown):
        near = difflib.get_close_matches(name.title(), NAMES.values(), n=1)
        hint = (
            f'did you mean "{near[0]}"?' if near else "give a code such as hi, or an English name"
        )
        log.warning(
            "language %r is not known, its texts have no rules of their own; %s", name, hint
        )


def _is_whole(path: Path) -> bool:
    return not is_text(path) and None not in _sides(read_any_table(path)).values()


def _read_whole(path: Path) -> list[Entry]:
    """Return the entries of a table that holds both sides."""
    if is_text(path):
        read_text_lines(path)
        raise DataError(
            f"{path} holds no more than one text a line",
            fix=f"desta score transcription {path} --references FILE",
        )
    table = read_any_table(path)
    sides = _sides(table)
    lacking = next((side for side, name in sides.items() if name is None), None)
    if lacking:
        raise DataError(
            f"{path} has no column of {_plural(lacking)} ({tell_columns(table)})", fix=_FIX
        )
    return _entries(table, path, sides)


def _read_side(path: Path, side: Side, others: Sequence[Path]) -> list[Entry]:
    """Return the entries of one side; what ids its lines begin with, the other side helps tell."""
    if is_text(path):
        other = read_text_lines(others[0]) if len(others) == 1 and is_text(others[0]) else None
        lines = split_ids(read_text_lines(path), _sure_ids(others), other)
        entries = [Entry(id=id, **{side: text}) for id, text in lines]
        check_ids([entry.id for entry in entries], str(path))
        return entries
    table = read_any_table(path)
    if side == "reference" and all("segments" in row and "duration" in row for row in table):
        return [_of_clip(row, path) for row in table]
    name = find_column(table, _NAMES[side]) or find_column(table, TEXT_COLUMNS)
    if name is None:
        raise DataError(
            f"{path} has no column of {_plural(side)} ({tell_columns(table)})",
            fix=f'name it "{side}"',
        )
    return _entries(table, path, {side: name})


def _sure_ids(paths: Sequence[Path]) -> list[str]:
    """Return the ids that files have for sure, by their form alone."""
    ids: list[str | None] = []
    for path in paths:
        if is_text(path):
            ids += [id for id, _ in read_text_lines(path).marked or ()]
        else:
            ids += [id for id, _ in _places(read_any_table(path))]
    return [id for id in ids if id is not None]


def _pair(
    said: Sequence[Entry], understood: Sequence[Entry], references: str, transcriptions: str
) -> list[Entry]:
    """Return what was said with what was understood, by ids where both have them, else in order.

    Raises:
        DataError: one side has other lines, or other ids, than the other.
    """
    if not (_has_ids(said) and _has_ids(understood)):
        said, understood = _cut(said, len(understood)), _cut(understood, len(said))
        if len(said) != len(understood):
            raise DataError(
                f"{references} has {len(said)} lines and {transcriptions} {len(understood)}",
                fix="give a line for each recording in both, an empty one where nothing is said, or"
                " begin all lines with an id",
            )
        return [_joined(*pair) for pair in zip(said, understood, strict=True)]
    keys, found = common_keys(*([entry.id or "" for entry in side] for side in (said, understood)))
    by_key = dict(zip(found, understood, strict=True))
    if strangers := sorted(str(by_key[key].id) for key in by_key.keys() - set(keys)):
        raise DataError(
            f"{transcriptions} has {len(strangers)} recordings that {references} does not have, "
            f"for example {strangers[0]!r}",
            fix="give the references of these recordings, under the same ids or ends of paths",
        )
    return [_joined(entry, by_key.get(key)) for key, entry in zip(keys, said, strict=True)]


def _has_ids(entries: Sequence[Entry]) -> bool:
    return all(entry.id is not None for entry in entries)


def _cut(entries: Sequence[Entry], length: int) -> Sequence[Entry]:
    """Remove empty lines at the end, beyond a number of lines."""
    count = len(entries)
    while count > length and not (entries[count - 1].reference or entries[count - 1].hypothesis):
        count -= 1
    return entries[:count]


def _joined(said: Entry, understood: Entry | None) -> Entry:
    if understood is None:
        return said
    return replace(
        said,
        id=said.id or understood.id,
        audio=said.audio or understood.audio,
        language=said.language or understood.language,
        hypothesis=understood.hypothesis,
    )


def _entries(table: Table, path: Path, sides: Mapping[Side, str | None]) -> list[Entry]:
    """Return what rows say, by the names of their columns."""
    log.info("%s: %s", path, ", ".join(f"{side} in {name!r}" for side, name in sides.items()))
    language = find_column(table, LANGUAGE_COLUMNS)
    entries = []
    for number, (row, place) in enumerate(zip(table, _places(table), strict=True), start=1):
        for name in filter(None, sides.values()):
            if isinstance(row.get(name), bool | list | Mapping):
                raise DataError(
                    f"{path}: {name!r} of row {number} is no text, but {reprlib.repr(row[name])}",
                    fix="write one text for each recording, or null where there is none",
                )
        texts = {side: text_in(row, name) for side, name in sides.items()}
        id, audio = place
        entries.append(Entry(id=id, audio=audio, language=text_in(row, language) or None, **texts))
    check_ids([entry.id for entry in entries], str(path))
    return entries


def _places(table: Table) -> list[tuple[str | None, str | None]]:
    """Return the id and the clip of every row, None where it has none."""
    id, audio = find_column(table, IDS), find_column(table, AUDIO_COLUMNS)
    places = []
    for row in table:
        clip = text_in(row, audio)
        start = text_in(row, "offset")  # of a segment, as NeMo writes it
        place = f"{clip}@{start}" if clip and start not in (None, "0", "0.0") else clip
        places.append((text_in(row, id) or place or None, clip or None))
    return places


def _of_clip(row: Mapping[str, Any], path: Path) -> Entry:
    clip = read_clip(row, path)
    language = clip.attributes.get("Language")
    return Entry(id=clip.id, audio=clip.audio, language=language, reference=clip.transcription)


def _sides(table: Table) -> dict[Side, str | None]:
    """Return the columns of both sides; of one that has no name of its own, that of a text."""
    sides: dict[Side, str | None] = {
        side: find_column(table, names) for side, names in _NAMES.items()
    }
    if None in sides.values() and any(sides.values()):
        sides = {side: name or find_column(table, TEXT_COLUMNS) for side, name in sides.items()}
    return sides


def _plural(side: Side) -> str:
    return "references" if side == "reference" else "hypotheses"
