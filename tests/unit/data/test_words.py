"""Words of descriptions as labels of audio tokens."""

from typing import Any

import pytest

from desta.data.words import Words
from desta.errors import ConfigError
from desta.model.config import NO_LABEL

FRENCH = "[00:00-00:02] Oui. (Language: French, Gender: Female, Duration: 2s)"
NARRATOR = "[00:00-00:02] (Language: Greek, Duration: 2s)"
DOG = "[00:00-00:01] (Sound class: Dog, Duration: 1s)"
ATTRIBUTES = ("Language", "Gender", "Sound class")


class Letters:
    """A tokenizer with a token for every character."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [ord(letter) for letter in text]}


def words(*descriptions: str, attributes: Any = ATTRIBUTES, num_tokens: int = 40) -> Words:
    return Words(descriptions, attributes, tokenizer=Letters(), num_tokens=num_tokens)


def read(labels: list[int]) -> str:
    return "".join("?" if label == NO_LABEL else chr(label) for label in labels)


def test_labels_state_the_attributes_in_the_order_of_the_recipe() -> None:
    found = words(FRENCH, DOG, attributes=("Gender", "Language", "Sound class"))

    assert read(found.labels(FRENCH)).rstrip("\n") == "Gender: Female, Language: French"
    assert read(found.labels(DOG)).rstrip("\n") == "Sound class: Dog"
    assert len(found.labels(DOG)) == 40


def test_what_other_descriptions_state_of_the_same_is_unknown_rather_than_absent() -> None:
    found = words(FRENCH, NARRATOR, DOG)

    assert read(found.labels(NARRATOR)) == "Language: Greek" + "?" * 25
    assert "?" not in read(found.labels(FRENCH)) + read(found.labels(DOG))
    assert read(found.labels("[00:00-00:02] (Duration: 2s)")) == "?" * 40


def test_a_text_that_is_too_long_is_cut_and_told(caplog: pytest.LogCaptureFixture) -> None:
    found = words(FRENCH, DOG, num_tokens=20)

    assert read(found.labels(FRENCH)) == "Language: French, Ge"
    assert "1 of 2 different texts are cut after 20 audio tokens" in caplog.text


def test_only_tokens_of_the_descriptions_compete() -> None:
    assert {chr(id) for id in words(DOG, attributes=("Sound class",)).ids_V} == {
        *"Sound class: Dog\n"
    }


def test_an_attribute_that_no_description_states_is_refused() -> None:
    with pytest.raises(ConfigError, match='states "Emotion"'):
        words(FRENCH, attributes=("Language", "Emotion"))
