"""The model card."""

from pathlib import Path

from desta.config import load_recipe
from desta.training.card import model_card
from desta.training.config import TrainConfig

RECIPES = Path(__file__).parents[3] / "recipes/tiny"
SUMMARY = {"steps": 20, "pairs_read": 640, "loss": 0.25}


def card_of(recipe: str) -> str:
    return model_card(load_recipe(RECIPES / recipe, TrainConfig), SUMMARY)


def test_a_card_names_its_parts_as_the_hub_does() -> None:
    card = card_of("train.yaml")

    assert "\nbase_model: [Qwen/Qwen2.5-Coder-0.5B-Instruct, openai/whisper-base]\n" in card
    assert "| steps | 20 |" in card


def test_a_card_tells_how_the_connector_was_trained() -> None:
    assert "Trained by self-generated cross-modal alignment" in card_of("train.yaml")
    assert "without the backbone: Language, Gender.\n" in card_of("words_speech.yaml")


def test_a_card_names_what_training_started_from() -> None:
    assert "| start | `tiny/music` |\n| steps |" in card_of("train.yaml")
    assert "| start |" not in card_of("words_speech.yaml")
