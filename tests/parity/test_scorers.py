"""Our scorers against the official ones, on files that the project does not carry."""

from pathlib import Path

import pytest

from scorer_parity import cases, mmau_seconds, page

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(
    not (DATA / "voicebench").is_dir(), reason=f"the benchmarks' files are not at {DATA}"
)


@needs_data
def test_every_case_agrees_with_the_official_scorer() -> None:
    found = list(cases(DATA))

    assert len(found) > 100
    assert [case for case in found if not case.equal] == []


@needs_data
def test_the_page_is_what_the_script_writes() -> None:
    written = (Path(__file__).parents[2] / "docs/evaluation/scorers.md").read_text("utf-8")
    assert written == page(DATA), "write it again"


@needs_data
def test_a_thousand_questions_of_mmau_are_scored_in_a_tenth_of_a_second() -> None:
    assert mmau_seconds(DATA) < 0.1
