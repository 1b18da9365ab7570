"""`desta sources`, and the page and the examples that are made from the same table."""

import json
import subprocess
from pathlib import Path

import pytest

from desta.sources import SOURCES
from desta.sources.examples import example_of
from sources_page import EXAMPLES, PAGE, dump, examples, page
from support.commands import run_desta

ROOT = Path(__file__).parents[2]


def desta(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "", "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
    return run_desta(*arguments, env=env)


def test_sources_without_a_verb_lists_them() -> None:
    rows = json.loads(desta("sources", "--json").stdout)

    assert [row["name"] for row in rows] == list(SOURCES)
    assert all(
        row[key] for row in rows for key in ("domains", "licence", "obtain", "layout", "cited")
    )
    assert json.loads(desta("sources", "list", "--json").stdout) == rows
    table = desta("sources").stdout
    assert all(name in table for name in SOURCES)
    assert "…" not in table  # nothing is cut


def test_json_before_a_verb_is_no_silent_table() -> None:
    result = desta("sources", "--json", "list")

    assert result.returncode == 2
    assert "desta sources list --json" in result.stderr


def test_show_tells_all_of_one_corpus_with_an_example() -> None:
    facts = json.loads(desta("sources", "show", "mridangam", "--json").stdout)

    assert facts["licence"] == SOURCES["mridangam"].licence
    assert facts["example"].startswith("[00:00-00:01] (Instrument: Mridangam")
    text = desta("sources", "show", "mridangam").stdout
    assert all(value in text for value in facts.values())


def test_the_page_is_current() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(SOURCES.values(), examples(ROOT)), (
        "run `make docs`"
    )


def test_the_examples_in_the_package_are_those_of_the_golden_files() -> None:
    assert (ROOT / EXAMPLES).read_text(encoding="utf-8") == dump(examples(ROOT)), "run `make docs`"


@pytest.mark.parametrize("name", SOURCES)
def test_every_corpus_has_an_example(name: str) -> None:
    assert example_of(name), f"store golden seed descriptions of {name}, then run `make docs`"
