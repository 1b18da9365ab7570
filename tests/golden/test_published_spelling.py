"""`description.spelling: published` writes the lines that the table of DeSTA-AQA5M shows.

The golden file holds them letter by letter, but those that the table cuts with "etc." or "...)".
They are facts, not our output: never write that file again.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from desta.construction.description import DescriptionConfig, describe_clip
from desta.construction.spelling import PUBLISHED
from desta.records import Clip
from desta.sources import SOURCES

PATH = Path(__file__).with_name("published_spelling.json")
CASES = json.loads(PATH.read_text(encoding="utf-8"))
SPELT = DescriptionConfig(spelling="published")
CUT = {
    *("fsd50k", "libritts-r", "msp-podcast", "nsynth", "paraspeechcaps", "vctk-musan"),
    "asvspoof2019",  # one row for all years
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["clip"]["source"])
def test_a_published_line_is_written_letter_by_letter(case: dict[str, Any]) -> None:
    clip = Clip.from_json(case["clip"])

    assert describe_clip(clip, SPELT) == case["description"]


def test_every_spelling_has_its_line() -> None:
    assert {*PUBLISHED} <= {*SOURCES}
    assert {*PUBLISHED} - CUT == {case["clip"]["source"] for case in CASES}


@pytest.mark.parametrize(
    ("source", "attributes", "written"),
    [
        ("fsd50k", {"Sound": "Water / Gurgling"}, "Type: ['water', 'gurgling']"),
        (
            "libritts-r",
            {
                "Gender": "Male",
                "Speaker": "John Rose",
                "Pitch": "Moderate",
                "Noise level": "Moderate",
            },
            "Gender: male, Speaker: John Rose, Pitch Type: moderate pitch, "
            "Noise Type: balanced in clarity",
        ),
        (
            "msp-podcast",
            {"Emotion": "Neutral", "Arousal": "3.0/7", "Valence": "3.6/7", "Dominance": "4.0/7"},
            "Emotion: N, Arousal: 3.0, Valence: 3.6, Dominance: 4.0",
        ),
        (
            "nsynth",
            {"Instrument": "Bass", "Source": "Electronic", "Note": "A#0", "MIDI note": "22"},
            "Family: bass, Source: electronic, MIDI Note: 022, Note: A#0",
        ),
        (
            "paraspeechcaps",
            {"Gender": "Male", "Emotion": "Disgusted"},
            "Gender: male, emotion: disgusted",
        ),
        (
            "vctk-musan",
            {"Noise level": "Noisy", "Noise": "Music", "Signal-to-noise ratio": "10dB"},
            "Noise Level: Noisy, Signal-to-Noise Ratio: 10db, Noise: Music",
        ),
    ],
)
def test_what_a_cut_line_shows_is_written_so(
    source: str, attributes: dict[str, str], written: str
) -> None:
    clip = Clip(
        id="a",
        source=source,
        audio="a.wav",
        duration=4.0,
        domain=SOURCES[source].domains[0],
        attributes=attributes,
    )

    assert describe_clip(clip, SPELT) == f"[00:00-00:04] ({written})"
