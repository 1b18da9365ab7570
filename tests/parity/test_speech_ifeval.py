"""Speech-IFEval's published questions beside its published outputs."""

from pathlib import Path

import pytest

from desta.evaluation.base import Item, ReadOptions
from desta.evaluation.benchmarks.speech_ifeval.files import load_items, read_published
from desta.evaluation.benchmarks.speech_ifeval.score import NUM_ITEMS
from scorer_parity import OUTPUTS

DATA = Path(__file__).parents[3] / "shared" / "data" / "speech_ifeval"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent: private test data")


def key_of(item: Item) -> tuple[str, str, str]:
    return item.groups["section"], item.record["audio_filepath"], item.question


def test_all_questions_load_and_ask_what_the_published_outputs_were_asked() -> None:
    items = load_items(DATA, Path())
    by_section = {name: [i for i in items if i.groups["section"] == name] for name in NUM_ITEMS}
    assert {name: len(found) for name, found in by_section.items()} == NUM_ITEMS

    asked = {key_of(i): i.described[1].content for i in items}
    for path in (DATA / OUTPUTS).iterdir():
        for result in read_published([path], ReadOptions()):
            assert asked[key_of(result.item)] == result.item.described[1].content
