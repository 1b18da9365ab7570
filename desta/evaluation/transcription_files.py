"""Transcriptions as people keep them, beside what was said.

    tables    JSONL, JSON, CSV, TSV: a row a recording, columns told by their names
    ids       text, `id words` a line as in Kaldi, ESPnet and lhotse, or `words (id)` as in sclite
    lines     text, a line a recording, in the same order in two files

What was said stands in the same table, or in a file of its own, in any of these forms.
"""

import gzip
import logging
import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from desta.errors import ConfigError, DataError
from desta.evaluation.answered import Answered
from desta.evaluation.items import Item, ask, read_published, rows
from desta.evaluation.transcription import PROMPT, score_item
from desta.records import LOCATOR, Clip
from desta.sources.tables import read_rows, read_table

IDS = ("id", "utt_id", "uttid", "utterance_id", "utt", "key", "segment_id", "sample_id", "cut_id")
AUDIOS = (
    "audio_filepath", "audio", "audio_path", "audio_file", "path", "file", "filename", "file_name",
    "wav", "wav_path", "recording", "clip",
)  # fmt: skip
REFERENCES = (
    "reference", "ref", "references", "reference_text", "ref_text", "target", "target_text",
    "ground_truth", "groundtruth", "gt", "gold", "truth", "label", "label_str",
)  # fmt: skip
HYPOTHESES = (
    "hypothesis", "hyp", "hypotheses", "hypothesis_text", "hyp_text", "pred_text", "prediction",
    "predictions", "prediction_text", "pred", "pred_str", "predicted", "predicted_text", "output",
    "response", "asr", "asr_text", "recognized", "recognised",
)  # fmt: skip
TEXTS = ("text", "sentence", "transcription", "transcript", "normalized_text", "raw_transcription")
"""What was said, or what was understood where another column or file holds what was said."""
LANGUAGES = ("language", "lang", "locale")

Side = Literal["reference", "hypothesis"]
Table = Sequence[Mapping[str, Any]]

_NAMES: Mapping[Side, tuple[str, ...]] = {"reference": REFERENCES, "hypothesis": HYPOTHESES}
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
"""What a file's name, or its folder's, says of it."""
_ID = re.compile(r"(?=\S*\d)(?=\S*(?:[^\W\d]|[-/]))\S+(?=\s|$)")
"""First word of a line that is an id: digits, and letters or signs that join."""
_TRN = re.compile(r"(.*?)\s*\(([^\s()]+)\)\s*")
_CELLS = (".csv", ".tsv")
_LISTS = ("predictions", "results", "data", "items", "samples")
"""Keys under which a JSON object holds its rows."""
_NUM_NAMED = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a file says of one recording."""

    id: str | None
    """None where the file has nothing but an order."""
    audio: str | None = None
    language: str | None = None
    reference: str | None = None
    hypothesis: str | None = None


def read_answered(
    paths: Sequence[Path], references: Path | None = None, language: str | None = None
) -> list[Answered]:
    """Read transcriptions, and what was said.

    Args:
        paths: tables that hold both, or transcriptions.
        references: file of what was said, where `paths` do not hold that; also a `clips.jsonl`.
        language: of all recordings, code or English name; None: as the tables say.

    Raises:
        DataError: a file is missing, broken or empty, lacks a column or a line, or has an id twice.
    """
    if references is None:
        entries = [entry for path in paths for entry in _read_whole(path)]
    else:
        understood = [entry for path in paths for entry in _read_side(path, "hypothesis")]
        said = _read_side(references, "reference")
        if all(map(_is_text, (references, *paths))) and _has_ids(said) != _has_ids(understood):
            one, other = (references, paths[0])[:: 1 if _has_ids(said) else -1]
            raise DataError(
                f"lines of {one} begin with ids, and those of {other} do not",
                fix="give both with ids, none of them twice, or both without",
            )
        entries = _pair(said, understood, str(references), ", ".join(map(str, paths)))
    return [_answered(entry, number, language) for number, entry in enumerate(entries, start=1)]


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


def _answered(entry: Entry, number: int, language: str | None) -> Answered:
    item = Item(
        id=entry.id or f"line {number}",
        messages=ask("", PROMPT, [entry.audio]) if entry.audio else (),
        question=PROMPT.replace(LOCATOR, "").strip(),
        target=entry.reference or "",
        groups={"language": language or entry.language or "unknown"},
    )
    return Answered(item=item, output=entry.hypothesis, score=score_item(item, entry.hypothesis))


def _is_whole(path: Path) -> bool:
    return not _is_text(path) and None not in _sides(_read_table(path)).values()


def _read_whole(path: Path) -> list[Entry]:
    """Return the entries of a table that holds both sides."""
    if _is_text(path):
        raise DataError(
            f"{path} holds no more than one text a line",
            fix=f"desta score transcription {path} --references FILE",
        )
    table = _read_table(path)
    sides = _sides(table)
    lacking = next((side for side, name in sides.items() if name is None), None)
    if lacking:
        raise DataError(f"{path} has no column of {_plural(lacking)} ({_named(table)})", fix=_FIX)
    return _entries(table, path, sides)


def _read_side(path: Path, side: Side) -> list[Entry]:
    """Return the entries of one side."""
    if _is_text(path):
        entries = [Entry(id=id, **{side: text}) for id, text in _lines(path)]
        _check_ids(entries, str(path))
        return entries
    table = _read_table(path)
    if side == "reference" and all("segments" in row and "duration" in row for row in table):
        return [_of_clip(row, path) for row in table]
    name = _find(table, _NAMES[side]) or _find(table, TEXTS)
    if name is None:
        raise DataError(
            f"{path} has no column of {_plural(side)} ({_named(table)})", fix=f'name it "{side}"'
        )
    return _entries(table, path, {side: name})


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
    by_id = {entry.id: entry for entry in understood}
    if not any(entry.id in by_id for entry in said):  # paths here, and names of files there
        said = [replace(entry, id=_stem(entry)) for entry in said]
        by_id = {_stem(entry): entry for entry in understood}
    _check_ids(said, references)
    if strangers := sorted(map(str, by_id.keys() - {entry.id for entry in said})):
        raise DataError(
            f"{transcriptions} has {len(strangers)} recordings that {references} does not have, "
            f"for example {strangers[0]!r}",
            fix="give the references of these recordings, under the same ids",
        )
    return [_joined(entry, by_id.get(entry.id)) for entry in said]


def _has_ids(entries: Sequence[Entry]) -> bool:
    return all(entry.id is not None for entry in entries)


def _cut(entries: Sequence[Entry], length: int) -> Sequence[Entry]:
    """Take off empty lines at the end, beyond a number of lines."""
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
    logger.info("%s: %s", path, ", ".join(f"{side} in {name!r}" for side, name in sides.items()))
    id, audio, language = (_find(table, names) for names in (IDS, AUDIOS, LANGUAGES))
    entries = []
    for row in table:
        clip = _text(row, audio)
        start = _text(row, "offset")  # of a segment, as NeMo writes it
        place = f"{clip}@{start}" if clip and start not in (None, "0", "0.0") else clip
        texts = {side: _text(row, name) for side, name in sides.items()}
        entries.append(
            Entry(
                id=_text(row, id) or place or None,
                audio=clip or None,
                language=_text(row, language) or None,
                **texts,
            )
        )
    _check_ids(entries, str(path))
    return entries


def _of_clip(row: Mapping[str, Any], path: Path) -> Entry:
    try:
        clip = Clip.from_json(row)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path}: clip {row.get('id', '?')!r} is not in the clip format: {error}",
            fix="write the file with `desta describe`",
        ) from error
    language = clip.attributes.get("Language")
    return Entry(id=clip.id, audio=clip.audio, language=language, reference=clip.transcription)


def _sides(table: Table) -> dict[Side, str | None]:
    """Return the columns of both sides; of one that has no name of its own, that of a text."""
    sides: dict[Side, str | None] = {side: _find(table, names) for side, names in _NAMES.items()}
    if None in sides.values() and any(sides.values()):
        sides = {side: name or _find(table, TEXTS) for side, name in sides.items()}
    return sides


def _find(table: Table, known: Sequence[str]) -> str | None:
    """Return the column of a table that has one of some names, the first ones first."""
    columns = {re.sub(r"[\s-]+", "_", name.strip().lower()): name for row in table for name in row}
    return next((columns[name] for name in known if name in columns), None)


def _named(table: Table) -> str:
    names = list(dict.fromkeys(name for row in table for name in row))
    more = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return f"it has {', '.join(names[:_NUM_NAMED]) or 'none'}{more}"


def _plural(side: Side) -> str:
    return "references" if side == "reference" else "hypotheses"


def _text(row: Mapping[str, Any], name: str | None) -> str | None:
    """Return a cell as text; None where there is none, or what is no text."""
    value = row.get(name) if name else None
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return str(value) if isinstance(value, str | int | float) else None


def _check_ids(entries: Sequence[Entry], where: str) -> None:
    counts = Counter(entry.id for entry in entries if entry.id is not None)
    if twice := next((id for id, count in counts.items() if count > 1), None):
        raise DataError(
            f"{where}: id {twice!r} occurs {counts[twice]} times",
            fix="keep one row of every recording",
        )


def _stem(entry: Entry) -> str:
    return Path(entry.id or "").stem


def _is_text(path: Path) -> bool:
    """Tell lines of text from tables, by the name and by the first character."""
    if _suffix(path) in _CELLS:
        return False
    start = _content(path).lstrip()[:1]
    return start != "{" and not (start == "[" and ".json" in path.name.lower())


def _read_table(path: Path) -> Table:
    """Read a table in any form.

    Raises:
        DataError: it is missing, broken or empty.
    """
    suffix = _suffix(path)
    if suffix not in _CELLS:
        value = read_published(path)
        if isinstance(value, dict):
            lists = (value[key] for key in _LISTS if isinstance(value.get(key), list))
            value = next(lists, [value])
        return rows(value, str(path))
    _content(path)
    if path.suffix.lower() == ".gz":
        raise DataError(f"{path} is a packed table", fix=f"gunzip {path}")
    try:
        table = read_table(path)
    except DataError:
        if suffix == ".csv":
            raise
        table = list(read_rows(path, delimiter="\t", quoted=False))  # a quotation mark is a word's
    if not table:
        raise DataError(f"{path} has no rows", fix="give a table with a line of names and rows")
    return table


def _suffix(path: Path) -> str:
    """Return what the name of a file ends in, before it was packed."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _lines(path: Path) -> list[tuple[str | None, str]]:
    """Return the lines of a text, each with the id that it begins or ends with, or None."""
    whole = [line.rstrip("\r") for line in _content(path).removesuffix("\n").split("\n")]
    lines = [line for line in whole if line.strip()]
    heads = [line.partition("\t") for line in lines]
    if all(tab and len(id.split()) == 1 for id, tab, _ in heads):
        return [(id.strip(), text) for id, _, text in heads]
    ends = [_TRN.fullmatch(line) for line in lines]
    if all(end is not None and _ID.fullmatch(end[2]) for end in ends):
        return [(end[2], end[1]) for end in ends if end is not None]
    words = [line.split(maxsplit=1) for line in lines]
    ids = {word[0] for word in words if _ID.match(word[0])}
    if path.name == "text" or (len(words) > 1 and len(ids) == len(words)):
        logger.info("%s: lines begin with ids, for example %s", path, words[0][0])
        return [(word[0], word[1] if word[1:] else "") for word in words]
    return [(None, line) for line in whole]


def _content(path: Path) -> str:
    """Return the text of a file, gzipped or not.

    Raises:
        DataError: it is missing, empty, cut or not UTF-8.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file", fix="give the path of a file of transcriptions")
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} is not whole: {error}", fix="fetch that file again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error}", fix="save it as UTF-8") from error
    if not text.strip():
        raise DataError(f"{path} is empty", fix="give a file with a line for each recording")
    return text
