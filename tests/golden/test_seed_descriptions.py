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


def test_every_line_of_the_page_about_descriptions_is_a_golden_one() -> None:
    folder = Path(__file__).parent
    page = (folder.parents[1] / "docs/guides/descriptions.md").read_text(encoding="utf-8")
    published = json.loads((folder / "published_spelling.json").read_text(encoding="utf-8"))
    shown = {line for line in page.splitlines() if line.startswith("[0")}

    assert len(shown) > 10
    assert shown <= {case["description"] for case in (*CASES, *published)}
