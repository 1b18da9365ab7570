"""Links of an Ogg file: complete recordings that were concatenated.

FFmpeg continues from one link to the next only if nothing changes between them, and takes the
headers of the next for damage. So every link is decoded alone. Pages are numbered, have check sums,
and count the samples up to their end, from which the expected length follows.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_MAGIC = b"OggS"
_PAGE = _MAGIC + b"\0"  # with the only version
_HEADER = struct.Struct("<4sBBqIIIB")  # of a page, before its segment table
_CHECK_SUM = slice(22, 26)
_FIRST = 0x02  # flag of the first page of a stream
_READ_BYTES = 1 << 12
_MOST_SECONDS = 60  # of sound in a page with a wrong check sum; a higher count is not trusted
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Link(NamedTuple):
    """Position and contents of one link."""

    start: int
    end: int
    is_cut: bool
    """Whether its last page is truncated."""
    is_whole: bool
    """Whether it is one stream with all its pages, their check sums right."""
    starts_whole: bool
    """Whether it is undamaged up to the first page of sound, which may have any number."""
    seconds: float | None
    """From time stamp 0 to the end; None unless it has exactly one sound track of a known codec."""


class _Page(NamedTuple):
    start: int
    end: int
    is_first: bool
    samples: int
    """Samples from the beginning of the stream to its end; negative if no packet ends in it."""
    stream: int
    number: int
    is_right: bool
    """Whether its check sum is right and it follows the previous page directly."""
    is_cut: bool
    beginning: bytes


@dataclass
class _Count:
    """Running summary of the pages of a link."""

    start: int
    streams: dict[int, tuple[int, int] | None] = field(default_factory=dict)
    """Stream -> rate and samples to skip; None if it is not sound."""
    is_whole: bool = True
    is_damaged: bool = False
    starts_whole: bool = True
    is_cut: bool = False
    done: int = 0
    """Samples before the first page of a stream whose beginning is lost."""
    last: int = 0
    stream: int | None = None
    number: int = -1

    def add(self, page: _Page) -> None:
        """Add the next page."""
        if page.is_first and page.is_right:
            self.streams[page.stream] = _rate(page.beginning)
        is_next = page.stream == self.stream and page.number == self.number + 1
        self.is_damaged |= not page.is_right
        if self.is_damaged or not (is_next or self.stream is None):
            self.is_whole = False
        self.is_cut = page.is_cut
        if self.streams.get(page.stream, True) is None:  # pictures
            self.is_whole = False
            return
        if self.stream not in (None, page.stream) or (
            page.number <= self.number and 0 <= page.samples < self.last
        ):
            self.done, self.last = self.done + self.last, 0
        self.stream, self.number = page.stream, page.number
        if page.samples <= 0 or page.is_cut:
            return
        if not self.done + self.last:
            self.starts_whole = not self.is_damaged
        if page.is_right or page.samples - self.last <= _MOST_SECONDS * self._rate()[0]:
            self.last = max(page.samples, self.last)

    def link(self, end: int) -> Link:
        """Return the link, which ends at this position."""
        rate, skipped = self._rate()
        seconds = max(self.done + self.last - skipped, 0) / rate if rate else None
        whole = self.is_whole and not self.is_cut and len(self.streams) == 1
        return Link(self.start, end, self.is_cut, whole, self.starts_whole, seconds)

    def _rate(self) -> tuple[int, int]:
        sounds = [sound for sound in self.streams.values() if sound is not None]
        return sounds[0] if len(sounds) == 1 else (0, 0)


def find_links(file: io.BufferedIOBase) -> list[Link]:
    """Return the links of a file, none if it is not Ogg; moves its position."""
    file.seek(0)
    if file.read(4) != _MAGIC:
        return []
    size = file.seek(0, os.SEEK_END)
    links: list[Link] = []
    count, in_beginnings = _Count(0), True
    for page in _pages(file, size):
        is_first = page.is_first and page.is_right
        if is_first and not in_beginnings:
            links.append(count.link(page.start))
            count = _Count(page.start)
        in_beginnings = is_first
        count.add(page)
    return [*links, count.link(size)]


def _pages(file: io.BufferedIOBase, size: int) -> Iterator[_Page]:
    position, expected = 0, 0
    while position < size:
        file.seek(position)
        data = file.read(_HEADER.size + 255)
        if len(data) < _HEADER.size or not data.startswith(_PAGE):
            position = _next_page(file, position + 1, size)
            continue
        _, _, flags, samples, stream, number, check_sum, num_segments = _HEADER.unpack_from(data)
        length = _HEADER.size + num_segments
        length += sum(data[_HEADER.size : length])
        data = data[:length] + file.read(max(length - len(data), 0))
        end = position + length
        follows = position == expected
        is_right = len(data) == length and check_sum == _check_sum(data)
        if not is_right and end < size:  # trusted if another page follows directly
            file.seek(end)
            if file.read(len(_PAGE)) != _PAGE:
                position = _next_page(file, position + 1, size)
                continue
        beginning = data[_HEADER.size + num_segments :][:64]
        is_first = bool(flags & _FIRST)
        yield _Page(
            *(position, end, is_first, samples, stream, number),
            *(is_right and (follows or is_first), end > size, beginning),
        )
        position = expected = end


def _check_sum(page: bytes) -> int:
    """Return the check sum of a page: zlib's, with the bits of all bytes reversed."""
    blank = page[: _CHECK_SUM.start] + bytes(4) + page[_CHECK_SUM.stop :]
    reverse = zlib.crc32(blank.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reverse.to_bytes(4, "little").translate(_REVERSED), "big")


def _rate(header: bytes) -> tuple[int, int] | None:
    """Return the rate of a stream's time stamps in Hz, and the number of samples to skip."""
    if header.startswith(b"OpusHead") and len(header) >= 12:
        return 48_000, int.from_bytes(header[10:12], "little")
    if header.startswith(b"\x01vorbis") and len(header) >= 16:
        return int.from_bytes(header[12:16], "little"), 0
    if header.startswith(b"Speex   ") and len(header) >= 40:
        return int.from_bytes(header[36:40], "little"), 0
    if header.startswith(b"\x7fFLAC") and len(header) >= 30:
        return int.from_bytes(header[27:30], "big") >> 4, 0
    return None


def _next_page(file: io.BufferedIOBase, position: int, size: int) -> int:
    """Return the position of the next page; the end of the file if there is none."""
    while position < size:
        file.seek(position)
        block = file.read(_READ_BYTES)
        found = block.find(_PAGE)
        if found >= 0:
            return position + found
        position += max(len(block) - len(_PAGE) + 1, 1)
    return size
