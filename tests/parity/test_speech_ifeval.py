"""Speech-IFEval's published questions beside its published outputs."""

from pathlib import Path

import pytest

from desta.evaluation.benchmarks.speech_ifeval.files import load_items, read_answered
from desta.evaluation.benchmarks.speech_ifeval.score import NUM_ITEMS, text_messages
from scorer_parity import OUTPUTS

DATA = Path(__file__).parents[3] / "shared" / "data" / "speech_ifeval"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent: private test data")


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
