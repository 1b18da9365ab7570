"""Files that hold many recordings: catalogues of OpenTTD, resources of Qt."""

import struct
import zlib
from collections.abc import Iterator

_NEW_FORMAT = 0x80000000  # bit of the first offset: names and credits follow
_FOLDER, _DEFLATED, _ZSTANDARD = 0x02, 0x01, 0x04
_NODE = 14  # bytes of a node in version 1; later versions add the time of the last change


class Damaged(ValueError):
    """A container that cannot be read; what was found before stands."""


def read_catalogue(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield title and WAV file of every sound of an OpenTTD catalogue.

    The file begins with pairs of offset and length, four bytes each, little-endian; at an offset
    stand the length of the title, the title with a zero at its end, and the WAV file.

    Raises:
        Damaged: an offset or a length leaves the file.
    """
    try:
        first = struct.unpack_from("<I", data)[0] & ~_NEW_FORMAT
        for entry in range(0, first, 8):
            offset, length = struct.unpack_from("<II", data, entry)
            offset &= ~_NEW_FORMAT
            start = offset + 1 + data[offset]
            sound = data[start : start + length]
            if len(sound) < length:
                raise Damaged("a sound ends after the file")
            title = data[offset + 1 : start].rstrip(b"\0").decode("utf-8", "replace")
            yield title, sound
    except (struct.error, IndexError) as error:
        raise Damaged("an entry lies outside the file") from error


def read_resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file in a Qt resource file (.rcc).

    Files that are compressed with Zstandard, as Qt does with pictures and text, are left out.

    Raises:
        Damaged: it is no such file, or its tree leads nowhere.
    """
    try:
        magic, version, tree, contents, names = struct.unpack_from(">4s4I", data)
        if magic != b"qres":
            raise Damaged("it is no resource file")
        size = _NODE if version < 2 else _NODE + 8
        waiting, seen = [(0, "")], set()
        while waiting:
            node, path = waiting.pop()
            if node in seen:
                raise Damaged("its tree has a loop")
            seen.add(node)
            name, flags, *fields = struct.unpack_from(">IHII", data, tree + size * node)
            if node:
                path = f"{path}/{_name(data, names + name)}".removeprefix("/")
            if flags & _FOLDER:
                count, first = fields
                if count > len(data):
                    raise Damaged("a folder has more entries than the file has bytes")
                waiting += ((child, path) for child in range(first + count - 1, first - 1, -1))
            elif not flags & _ZSTANDARD:
                start = contents + fields[1]
                length = struct.unpack_from(">I", data, start)[0]
                content = data[start + 4 : start + 4 + length]
                if len(content) < length:
                    raise Damaged("a file ends after the container")
                yield path, zlib.decompress(content[4:]) if flags & _DEFLATED else content
    except (struct.error, zlib.error) as error:
        raise Damaged("an entry lies outside the file") from error


def _name(data: bytes, start: int) -> str:
    length = struct.unpack_from(">H", data, start)[0]
    return data[start + 6 : start + 6 + 2 * length].decode("utf-16-be", "replace")
