"""What is found in clips, in columns, is what went in."""

import numpy as np
import pytest

from desta.attributes.findings import Findings
from desta.attributes.raw import Raw

KEYS = [bytes([1] * 16), bytes([2] * 14 + [0, 0]), bytes(16), bytes([1] * 16)]
"""Of four clips; the first and the last are alike, two end in zeros."""
NAMES = ("pitch", "rate", "sex m")


@pytest.fixture
def found() -> Findings:
    return Findings(np.array(KEYS, "S16"), NAMES)


def test_nothing_is_known_at_first_and_clips_that_are_alike_are_looked_at_once(
    found: Findings,
) -> None:
    assert list(found) == [Raw()] * 4
    assert list(found.lacking(NAMES)) == [True, True, True, False]
    assert [found.key(number) for number in range(4)] == [key.hex() for key in KEYS]


def test_what_is_added_is_given_back_to_every_clip_it_is_of(found: Findings) -> None:
    first = Raw(values={"pitch": 0.1 + 0.2, "sex m": "Male"}, missing={"rate": "no words"})
    found.add({KEYS[0].hex(): first, KEYS[1].hex(): Raw(broken="is empty")})
    found.add({KEYS[2].hex(): Raw(values={"pitch": float("nan"), "sex m": "no words"})})

    one, two, three, four = found
    assert one == four == first
    assert two == Raw(broken="is empty")
    assert np.isnan(three.values["pitch"])
    assert three.values["sex m"] == "no words"
    assert list(found.lacking(NAMES)) == [False, False, True, False]
    assert list(found.lacking(["pitch"])) == [False] * 4
    assert list(found.lacking([])) == [False] * 4


def test_what_another_call_found_is_added_to_what_was_known(found: Findings) -> None:
    key = KEYS[1].hex()
    found.add({key: Raw(values={"pitch": 1.0})})
    found.add({key: Raw(broken="is empty")})
    assert found[1] == Raw(values={"pitch": 1.0}, broken="is empty")
    found.add({key: Raw(missing={"rate": "no words"})})
    assert found[1] == Raw(values={"pitch": 1.0}, missing={"rate": "no words"})


def test_other_clips_and_other_names_are_not_remembered(found: Findings) -> None:
    for key in (bytes([1] * 15 + [2]), bytes([255] * 16), bytes(15) + b"\1"):
        found.add({key.hex(): Raw(values={"pitch": 1.0})})
    found.add({KEYS[0].hex(): Raw(values={"snr": 1.0})})
    assert list(found) == [Raw()] * 4
