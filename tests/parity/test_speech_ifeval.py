"""Every published flag and figure of Speech-IFEval, on its published outputs."""

from pathlib import Path

import pytest

from desta.evaluation.speech_ifeval import NUM_ITEMS, text_messages
from desta.evaluation.speech_ifeval_files import load_items, read_answered
from speech_ifeval_agreement import OUTPUTS, PAGE, cases, table

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "speech_ifeval"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent: private test data")


def test_every_flag_and_figure_is_the_official_one_and_the_page_says_so() -> None:
    rows = list(cases(DATA))

    assert [(row.name, row.ours) for row in rows] == [(row.name, row.expected) for row in rows]
    assert (ROOT / PAGE).read_text(encoding="utf-8").endswith(table(rows)), "write the page again"


def test_all_questions_load_and_ask_what_the_published_outputs_were_asked() -> None:
    items = load_items(DATA)
    by_section = {name: [i for i in items if i.section == name] for name in NUM_ITEMS}
    assert {name: len(found) for name, found in by_section.items()} == NUM_ITEMS

    asked = {(i.section, i.audio, i.instruction): text_messages(i)[1].content for i in items}
    for path in (DATA / OUTPUTS).iterdir():
        for each in read_answered(path):
            item = each.item
            key = (item.section, item.audio, item.instruction)
            assert asked[key] == text_messages(item)[1].content
