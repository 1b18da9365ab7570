"""Detection of FLAC frames beyond the sample count of the header."""

import io
import os
import re

_SYNC = re.compile(rb"(?=\xff[\xf8\xf9])")
_READ_BEFORE = 1 << 16  # bytes that a reader may have read ahead
_HEADER_BYTES = 16  # maximum of a frame
_VARIABLE = 0xF9  # second byte of a frame numbered by samples


def goes_on(file: io.BufferedIOBase, counted: int) -> bool:
    """Return whether a frame begins at or after the counted samples.

    Args:
        file: at the position where its reader stopped; moved.
        counted: number of samples that the header states.
    """
    here = file.tell()
    file.seek(8)
    block_size = int.from_bytes(file.read(2), "big")
    size = file.seek(0, os.SEEK_END)
    file.seek(max(here - _READ_BEFORE, 0))
    while len(data := file.read(_READ_BEFORE)) >= _HEADER_BYTES:
        for found in _SYNC.finditer(data, 0, len(data) - _HEADER_BYTES + 2):
            header = data[found.start() : found.start() + _HEADER_BYTES]
            step = 1 if header[1] == _VARIABLE else block_size
            if (number := _number(header)) is not None and number * step >= counted:
                return True
        if file.tell() >= size:
            break
        file.seek(1 - _HEADER_BYTES, os.SEEK_CUR)
    return False


def _number(header: bytes) -> int | None:
    """Return the number of the frame that begins with these bytes; None if none does."""
    if len(header) < 6 or header[2] >> 4 == 0 or header[2] & 15 == 15:
        return None
    if header[3] >> 4 > 10 or header[3] & 1:
        return None
    first = header[4]
    ones = 8 - (first ^ 0xFF).bit_length()  # length in bytes, if more than one
    if ones in (1, 8):
        return None
    end = 4 + max(ones, 1)
    number = first & (0x7F >> ones)
    for byte in header[5:end]:
        number = number << 6 | byte & 0x3F
    end += {6: 1, 7: 2}.get(header[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(header[2] & 15, 0)
    return number if end < len(header) and _check_sum(header[:end]) == header[end] else None


def _check_sum(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x07 if value & 0x80 else 0)) & 0xFF
    return value
