"""Containers of recordings, whole and damaged."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desta.sources.containers import Damaged, read_catalogue, read_resources


def make_catalogue() -> bytes:
    body = b"\4abc\0RIFF1234"
    return struct.pack("<II", 8 | 1 << 31, 8) + body


def make_resources() -> bytes:
    """A folder `a` with `x.ogg` and, compressed, `y.wav`."""
    names, offsets = b"", []
    for name in ("a", "x.ogg", "y.wav"):
        offsets.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    packed = struct.pack(">I", 4) + zlib.compress(b"WAVE")
    contents = struct.pack(">I", 4) + b"OggS" + struct.pack(">I", len(packed)) + packed
    time = bytes(8)
    tree = struct.pack(">IHII", 0, 2, 1, 1) + time
    tree += struct.pack(">IHII", offsets[0], 2, 2, 2) + time
    tree += struct.pack(">IHHHI", offsets[1], 0, 0, 0, 0) + time
    tree += struct.pack(">IHHHI", offsets[2], 1, 0, 0, 8) + time
    parts = (24, 24 + len(tree), 24 + len(tree) + len(contents))  # where each begins
    return struct.pack(">4s5I", b"qres", 2, *parts, 0) + tree + contents + names


def test_containers_give_names_and_contents() -> None:
    assert list(read_catalogue(make_catalogue())) == [("abc", b"RIFF1234")]
    assert list(read_resources(make_resources())) == [("a/x.ogg", b"OggS"), ("a/y.wav", b"WAVE")]


@pytest.mark.parametrize(
    ("read", "data"), [(read_catalogue, make_catalogue()), (read_resources, make_resources())]
)
@given(position=st.integers(0, 200), value=st.integers(0, 255), end=st.integers(0, 300))
def test_damage_is_an_error_of_its_own(read, data, position: int, value: int, end: int) -> None:  # type: ignore[no-untyped-def]
    damaged = bytearray(data)
    damaged[position % len(data)] = value

    for content in (bytes(damaged), data[:end]):
        try:
            list(read(content))
        except Damaged:
            continue
