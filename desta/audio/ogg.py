"""The links of an Ogg file: recordings that were put one behind the other, each whole by itself.

FFmpeg reads on from one link to the next only where nothing changes between them, and takes the
headers of the next for damage. So every link is decoded alone.
"""

import io
import os
from typing import NamedTuple

_MAGIC = b"OggS"
_HEADER_BYTES = 27  # of a page, before its table of segments
_FIRST = 0x02  # flag of the page with which a stream begins
_READ_BYTES = 1 << 16


class Link(NamedTuple):
    """Where a link lies in its file."""

    start: int
    end: int
    is_cut: bool
    """Whether its last page lacks bytes."""


def find_links(file: io.BufferedIOBase) -> list[Link]:
    """Return the links of a file, none if it is no Ogg file; moves its position."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != _MAGIC:
        return []
    starts, position, in_beginnings, is_cut = [0], 0, True, False
    while position < size:
        file.seek(position)
        header = file.read(_HEADER_BYTES + 255)
        if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
            position = _next_page(file, position + 1, size)
            continue
        is_first = bool(header[5] & _FIRST)
        if is_first and not in_beginnings:
            starts.append(position)
        in_beginnings = is_first
        table = header[_HEADER_BYTES : _HEADER_BYTES + header[26]]
        position += _HEADER_BYTES + header[26] + sum(table)
        is_cut = position > size
    ends = [*starts[1:], size]
    return [
        Link(start, end, is_cut and end == size) for start, end in zip(starts, ends, strict=True)
    ]


def _next_page(file: io.BufferedIOBase, position: int, size: int) -> int:
    """Return where the next page begins, the end of the file if none does."""
    while position < size:
        file.seek(position)
        block = file.read(_READ_BYTES)
        found = block.find(_MAGIC)
        if found >= 0:
            return position + found
        position += max(len(block) - len(_MAGIC) + 1, 1)
    return size
