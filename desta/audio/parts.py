"""Concatenated files, and headers that count too little.

Audio libraries trust the length in a header and stop there: at the first of two files, or at the
last second that a recorder had written to the header before it was killed.
"""

import io
import os
import re
from typing import Literal, NamedTuple

from desta.audio.errors import AudioNote
from desta.audio.files import cut_out

_FLAC_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # with its first block, of 34 bytes
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")
_MEANT = (b"RIFF", b"RF64", b"fLaC", b"OggS", b".snd", b"FORM", b"caff")
_TAG_BYTES = 128  # of an ID3v1 tag, at the end of a file
_ID3_BYTES = 10  # header or footer of an ID3 tag
_TAGGED = (b"#!AMR", b"caff", b".snd")
"""Formats whose decoders take a trailing tag for sound."""
_LEAST_BYTES = 1024  # beyond the stated length, to count as sound

BEYOND = "has more sound than its header counts"


class EmbeddedFile(NamedTuple):
    """A complete file inside a file."""

    file: io.BufferedIOBase
    has_more: bool
    """Whether it holds more than its header states."""


def find_parts(file: io.BufferedIOBase) -> list[EmbeddedFile]:
    """Return the files inside a file, nearly always only itself; moves its position."""
    file.seek(0)
    beginning = file.read(12)
    if beginning.startswith(b"ID3") and len(beginning) >= _ID3_BYTES:
        start = _after_tag(beginning)
        file.seek(start)
        if not file.read(4).startswith(_MEANT):
            return [EmbeddedFile(file, False)]
        return find_parts(cut_out(file, start))
    if beginning.startswith(b"fLaC"):
        return _flac_parts(file)
    if _is_wav(beginning):
        return _wav_parts(file)
    if beginning.startswith(_TAGGED):
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAG_BYTES, 0))
        if file.read(3) == b"TAG":
            file = cut_out(file, 0, size - _TAG_BYTES)
        if beginning.startswith(b".snd"):
            return _au_parts(file)
    return [EmbeddedFile(file, False)]


def note_beyond(name: str, notes: list[AudioNote]) -> None:
    """Append the note that a header counts too little, once."""
    if all(note.reason != BEYOND for note in notes):
        notes.append(AudioNote(BEYOND, f"{name} {BEYOND}: it is heard to the end of the file"))


def _after_tag(beginning: bytes) -> int:
    size = 0
    for byte in beginning[6:10]:  # seven bits each
        size = size << 7 | byte & 0x7F
    return _ID3_BYTES + size + (_ID3_BYTES if beginning[5] & 0x10 else 0)


def _flac_parts(file: io.BufferedIOBase) -> list[EmbeddedFile]:
    file.seek(0)
    starts, position, before = list[int](), 0, b""
    while block := file.read(1 << 20):
        data = before + block
        starts += [position - len(before) + m.start() for m in _FLAC_START.finditer(data)]
        position += len(block)
        before = data[-7:]
    if len(starts) < 2:
        return [EmbeddedFile(file, False)]
    ends = [*starts[1:], None]
    return [
        EmbeddedFile(cut_out(file, start, end), False)
        for start, end in zip(starts, ends, strict=True)
    ]


def _wav_parts(file: io.BufferedIOBase) -> list[EmbeddedFile]:
    size = file.seek(0, os.SEEK_END)
    place, long_place = 12, 0
    while (header := _read_at(file, place, 8))[:4] != b"data":
        if len(header) < 8:
            return [EmbeddedFile(file, False)]
        if header.startswith(b"ds64"):
            long_place = place + 8
        place += 8 + _padded(header)
    start, stated = place + 8, int.from_bytes(header[4:], "little")
    if long_place and stated == 0xFFFFFFFF:
        stated = int.from_bytes(_read_at(file, long_place + 8, 8), "little")
    elif not stated:  # not known yet, which decoders handle
        return [EmbeddedFile(file, False)]
    end = start + stated
    if end >= size:
        return [EmbeddedFile(file, False)]
    if not _is_chunk(_read_at(file, end, 12), size - end):
        end += stated % 2
    behind = end
    while _is_chunk(header := _read_at(file, behind, 12), size - behind):
        behind += 8 + _padded(header)
    if _is_wav(header):
        return _both(file, behind)
    if behind > end or not _is_sound(file, end, size):
        return [EmbeddedFile(file, False)]
    if long_place:
        lengths = (size - 8).to_bytes(8, "little") + (size - start).to_bytes(8, "little")
        return [_restated(file, {long_place: lengths + bytes(8)}, stated)]
    values = {4: _four_bytes(size - 8, "little"), place + 4: _four_bytes(size - start, "little")}
    return [_restated(file, values, stated)]


def _four_bytes(length: int, order: Literal["big", "little"]) -> bytes:
    return min(length, 0xFFFFFFFF).to_bytes(4, order)


def _au_parts(file: io.BufferedIOBase) -> list[EmbeddedFile]:
    size = file.seek(0, os.SEEK_END)
    head = _read_at(file, 4, 8)
    start, stated = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
    end = start + stated
    if end >= size:
        return [EmbeddedFile(file, False)]
    if stated and _read_at(file, end, 4) == b".snd":
        return _both(file, end)
    if not _is_sound(file, end, size):
        return [EmbeddedFile(file, False)]
    return [_restated(file, {8: _four_bytes(size - start, "big")}, stated)]


def _both(file: io.BufferedIOBase, end: int) -> list[EmbeddedFile]:
    return [EmbeddedFile(cut_out(file, 0, end), False), *find_parts(cut_out(file, end))]


def _restated(file: io.BufferedIOBase, values: dict[int, bytes], stated: int) -> EmbeddedFile:
    """Return a file with other values in its header."""
    whole = cut_out(file, 0)
    for place, value in values.items():
        whole.seek(place)
        whole.write(value)
    return EmbeddedFile(whole, stated > 0)


def _read_at(file: io.BufferedIOBase, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _padded(header: bytes) -> int:
    """Return the number of bytes of a WAV chunk, padded to even."""
    length = int.from_bytes(header[4:8], "little")
    return length + length % 2


def _is_wav(beginning: bytes) -> bool:
    return beginning.startswith((b"RIFF", b"RF64")) and beginning[8:12] == b"WAVE"


def _is_chunk(header: bytes, left: int) -> bool:
    """Return whether a WAV chunk begins here; it may be truncated."""
    name = header[:4]
    is_name = len(header) >= 8 and all(32 <= byte < 127 for byte in name) and name != b"RIFF"
    return is_name and 8 + int.from_bytes(header[4:8], "little") <= left + 1


def _is_sound(file: io.BufferedIOBase, start: int, size: int) -> bool:
    """Return whether uncounted bytes may be sound: neither a tag, nor padding, nor text."""
    rest = _read_at(file, start, 1 << 14)
    if size - start < _LEAST_BYTES or rest.startswith((*_TAGS, *_MEANT)):
        return False
    texts = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in rest)
    return len(set(rest)) > 1 and texts < 0.95 * len(rest)
