"""The wording of seed descriptions: a change of it shows as a difference of the golden file."""

import json
from pathlib import Path
from typing import Any

import pytest

from desta.construction.description import DescriptionConfig, describe
from desta.records import Clip

CASES = json.loads(Path(__file__).with_name("seed_cases.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["clip"]["id"])
def test_seed_description_is_the_golden_one(case: dict[str, Any]) -> None:
    clip = Clip.from_json(case["clip"])
    assert (
        describe(clip, DescriptionConfig(**case["config"]), pair=f"{clip.id}#0")
        == case["description"]
    )
