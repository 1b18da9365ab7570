"""Measurements and labels of all clips of a corpus, in columns: a few bytes per value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.attributes.corpus import KEY_BYTES
from desta.attributes.raw import Raw

_UNKNOWN, _FOUND = 0, 1
"""States of a value: not yet measured, and found. Other states are codes of reasons."""


@dataclass(kw_only=True)
class _Column:
    """Values of one name, (R,); equal clips share a row."""

    states: NDArray[np.int32]
    """`_UNKNOWN`, `_FOUND`, or the code of the reason why there is no value."""
    values: NDArray[np.float64]
    """Numbers, or codes of labels."""
    is_label: bool = False


class Findings:
    """Table of the findings of every clip, filled batch by batch."""

    def __init__(self, keys: NDArray[np.bytes_], names: Sequence[str]) -> None:
        """Create an empty table.

        Args:
            keys: (N,), `Corpus.keys`.
            names: names of the values to keep.
        """
        self._keys, first, rows = np.unique(keys, return_index=True, return_inverse=True)
        self._rows = rows.astype(np.int32)  # (N,)
        self._is_first = np.zeros(len(keys), bool)
        self._is_first[first] = True
        size = len(self._keys)
        self._columns = {
            name: _Column(states=np.zeros(size, np.int32), values=np.zeros(size)) for name in names
        }
        self._broken = np.zeros(size, np.int32)  # 0 or the code of a reason
        self._texts = ["", ""]  # code -> text; the first two are states
        self._codes: dict[str, int] = {}

    def __iter__(self) -> Iterator[Raw]:
        """Yield the findings of every clip; scores of labels are not kept."""
        return map(self._at, self._rows)

    def __getitem__(self, clip: int) -> Raw:
        return self._at(self._rows[clip])

    def key(self, clip: int) -> str:
        """Return the key of a clip in the journal."""
        return bytes(self._keys[self._rows[clip]]).ljust(KEY_BYTES, b"\0").hex()

    def lacking(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Return (N,): whether a clip lacks a value; of equal clips only the first counts."""
        known = [self._columns[name].states != _UNKNOWN for name in names]
        complete = (self._broken != 0) | np.logical_and.reduce(known)
        lacking: NDArray[np.bool_] = self._is_first & ~complete[self._rows]
        return lacking

    def add(self, batch: Mapping[str, Raw]) -> None:
        """Add findings by key; keys of other corpora are ignored."""
        keys = np.array([bytes.fromhex(key) for key in batch], self._keys.dtype)
        rows = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        for row, there, raw in zip(rows, self._keys[rows] == keys, batch.values(), strict=True):
            if there:
                self._set(row, raw)

    def _set(self, row: np.signedinteger[Any], raw: Raw) -> None:
        for name, column in self._columns.items():
            if name in raw.values:
                value = raw.values[name]
                column.is_label = isinstance(value, str)
                column.values[row] = self._code(value) if isinstance(value, str) else value
                column.states[row] = _FOUND
            elif name in raw.missing:
                column.states[row] = self._code(raw.missing[name])
        self._broken[row] = 0 if raw.broken is None else self._code(raw.broken)

    def _code(self, text: str) -> int:
        if text not in self._codes:
            self._codes[text] = len(self._texts)
            self._texts.append(text)
        return self._codes[text]

    def _at(self, row: np.signedinteger[Any]) -> Raw:
        raw = Raw(broken=self._texts[self._broken[row]] or None)
        for name, column in self._columns.items():
            state = column.states[row]
            if state == _FOUND:
                value = float(column.values[row])
                raw.values[name] = self._texts[int(value)] if column.is_label else value
            elif state != _UNKNOWN:
                raw.missing[name] = self._texts[state]
        return raw
