"""Tables of transcriptions: CSV, TSV, JSON and JSONL, columns told by their names."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.evaluation.benchmarks.transcription.texts import read_content
from desta.evaluation.published_files import read_json_values, rows
from desta.sources.tables import read_rows, read_table

IDS = ("id", "utt_id", "uttid", "utterance_id", "utt", "key", "segment_id", "sample_id", "cut_id")
AUDIO_COLUMNS = (
    "audio_filepath", "audio", "audio_path", "audio_file", "path", "file", "filename", "file_name",
    "wav", "wav_path", "recording", "clip",
)  # fmt: skip
REFERENCE_COLUMNS = (
    "reference", "ref", "references", "reference_text", "ref_text", "target", "target_text",
    "ground_truth", "groundtruth", "gt", "gold", "truth", "label", "label_str",
)  # fmt: skip
HYPOTHESIS_COLUMNS = (
    "hypothesis", "hyp", "hypotheses", "hypothesis_text", "hyp_text", "pred_text", "prediction",
    "predictions", "prediction_text", "pred", "pred_str", "predicted", "predicted_text", "output",
    "response", "asr", "asr_text", "recognized", "recognised",
)  # fmt: skip
TEXT_COLUMNS = (
    "text",
    "sentence",
    "transcription",
    "transcript",
    "normalized_text",
    "raw_transcription",
)
"""Column of the reference, or of the hypothesis where another column or file has the reference."""
LANGUAGE_COLUMNS = ("language", "lang", "locale")

Table = Sequence[Mapping[str, Any]]

_CELLS = (".csv", ".tsv")
_LISTS = ("predictions", "results", "data", "items", "samples")
"""Keys under which a JSON object holds its rows."""
_NUM_NAMED = 10


def is_text(path: Path) -> bool:
    """Return whether a file holds lines of text, no table, by its name and first character."""
    if _suffix(path) in _CELLS:
        return False
    start = read_content(path).lstrip()[:1]
    return start != "{" and not (start == "[" and ".json" in path.name.lower())


def read_any_table(path: Path) -> Table:
    """Read a table in any form.

    Raises:
        DataError: it is missing, broken or empty.
    """
    suffix = _suffix(path)
    if suffix not in _CELLS:
        value = read_json_values(path)
        if isinstance(value, dict) and (columns := _columns(value, path)):
            value = columns
        elif isinstance(value, dict):
            lists = (value[key] for key in _LISTS if isinstance(value.get(key), list))
            value = next(lists, [value])
        return rows(value, str(path))
    read_content(path)
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


def _columns(value: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON object that holds a list for each column; none for another one.

    Raises:
        DataError: the lists are not of one length.
    """
    texts = (*REFERENCE_COLUMNS, *HYPOTHESIS_COLUMNS, *TEXT_COLUMNS)
    if any(isinstance(cell, str) and _plain(name) in texts for name, cell in value.items()):
        return []  # of one recording
    names = (*IDS, *AUDIO_COLUMNS, *LANGUAGE_COLUMNS, *texts)
    lists = {
        name: cells
        for name, cells in value.items()
        if _plain(name) in names
        and isinstance(cells, list)
        and not any(isinstance(cell, Mapping | list) for cell in cells)
    }
    if len(set(map(len, lists.values()))) > 1:
        told = " and ".join(f"{len(cells)} {name}" for name, cells in lists.items())
        raise DataError(f"{path} holds {told}", fix="give as many of each, in the same order")
    return [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]


def _suffix(path: Path) -> str:
    """Return what the name of a file ends in, before it was packed."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def find_column(table: Table, known: Sequence[str]) -> str | None:
    """Return the column of a table that has one of some names, the first ones first."""
    columns = {_plain(name): name for row in table for name in row}
    return next((columns[name] for name in known if name in columns), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def tell_columns(table: Table) -> str:
    """Return a remark that names the columns of a table."""
    names = list(dict.fromkeys(name for row in table for name in row))
    more = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return f"it has {', '.join(names[:_NUM_NAMED]) or 'none'}{more}"


def text_in(row: Mapping[str, Any], name: str | None) -> str | None:
    """Return a cell as text; None where there is none, or what is no text."""
    value = row.get(name) if name else None
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return str(value) if isinstance(value, str | int | float) else None
