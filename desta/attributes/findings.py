"""What is found in all clips of a corpus, in columns: some bytes a clip and a value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.attributes.corpus import KEY_BYTES
from desta.attributes.raw import Raw

_UNKNOWN, _FOUND = 0, 1
"""States of a value that was not looked for yet, and of one that is there. Others are codes."""


@dataclass(kw_only=True)
class _Column:
    """What was found under one name; clips that are alike share a row. All are (R,)."""

    states: NDArray[np.int32]
    """Also codes of reasons why there is no value."""
    values: NDArray[np.float64]
    """Numbers, or codes of labels."""
    is_label: bool = False


class Findings:
    """What is found in every clip, in their order, as it becomes known."""

    def __init__(self, keys: NDArray[np.bytes_], names: Sequence[str]) -> None:
        """Begin with nothing.

        Args:
            keys: (N,), what the values of each clip depend on.
            names: of what is looked for; others are not remembered.
        """
        self._keys, first, rows = np.unique(keys, return_index=True, return_inverse=True)
        self._rows = rows.astype(np.int32)  # (N,)
        self._is_first = np.zeros(len(keys), bool)
        self._is_first[first] = True
        size = len(self._keys)
        self._columns = {
            name: _Column(states=np.zeros(size, np.int32), values=np.zeros(size)) for name in names
        }
        self._broken = np.zeros(size, np.int32)  # 0, or the code of a reason
        self._texts = ["", ""]  # by code; the first two are states
        self._codes: dict[str, int] = {}

    def __iter__(self) -> Iterator[Raw]:
        """Yield what is known of every clip; scores of labels are not remembered."""
        return map(self._at, self._rows)

    def __getitem__(self, clip: int) -> Raw:
        return self._at(self._rows[clip])

    def key(self, clip: int) -> str:
        """Return the key of a clip in the journal."""
        return bytes(self._keys[self._rows[clip]]).ljust(KEY_BYTES, b"\0").hex()

    def lacking(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Return (N,): which clips have something to be found; of several alike, the first."""
        known = [self._columns[name].states != _UNKNOWN for name in names]
        complete = (self._broken != 0) | np.logical_and.reduce(known)
        lacking: NDArray[np.bool_] = self._is_first & ~complete[self._rows]
        return lacking

    def add(self, batch: Mapping[str, Raw]) -> None:
        """Take over what was found under some keys; those of other corpora do not matter."""
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
