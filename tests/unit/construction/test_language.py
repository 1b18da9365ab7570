import pytest

from desta.construction.attribute_values import split_words
from desta.construction.language import in_wrong_language
from desta.construction.prompts import Prompt
from desta.records import Clip, Segment


def clip(words: str | None = None) -> Clip:
    segments = (Segment(start=0.0, end=2.0, text=words),) if words else ()
    return Clip(id="1", source="c", audio="a.wav", duration=2.0, domain="speech", segments=segments)


def wrong(
    text: str, prompt: str = "What do you hear?", kind: str = "describe", heard: str | None = None
) -> bool:
    asked = Prompt(text=prompt, kind=kind, needs_transcription=kind == "transform")
    return in_wrong_language(text, split_words(text), asked, clip(heard))


@pytest.mark.parametrize(
    "text",
    [
        "Elle est la femme de la femme.",
        "El hombre este la gente en español.",
        "EL LENGUAJE ES EL ESPAÑOL",
        "Отсебра рассоры высокая рассорядь",
        "我听到一个女人在说话",
        "Es war einmal ein Mann,\nder hatte einen Schwamm.",
    ],
)
def test_another_language_is_found_where_english_is_meant(text: str) -> None:
    assert wrong(text)


@pytest.mark.parametrize(
    "text",
    [
        "French.",
        "Français",
        "Ein Hund bellt",  # three words are not judged
        "A woman speaks in Greek.",
        "THE AUDIO IS IN GREEK.",
        "Danish: Danish: Danish: Danish:",
        '{"language": "Danish", "gender": "Female", "emotion": "Happy"}',
        "1 2 3 4 5 6",
        "",
    ],
)
def test_english_and_what_is_no_sentence_pass(text: str) -> None:
    assert not wrong(text)


@pytest.mark.parametrize(
    ("prompt", "text", "is_wrong"),
    [
        ("Translate the words into French.", "Bonjour, comment allez-vous ?", False),
        ("Translate the words into French.", "In French: Bonjour, comment allez-vous ?", False),
        ("Translate the words into French.", "Hello, how are you doing today?", True),
        ("Translate the words into French.", "Guten Tag, wie geht es Ihnen heute?", True),
        ("Give a translation into Mandarin Chinese.", "你好，你今天怎么样？", False),
        ("Translate what is said into English.", "Hola, ¿cómo estás el día de hoy?", True),
        ("Translate what is said into English.", "Hello, how are you doing today?", False),
        ("Repeat what was said.", "Hola, ¿cómo estás el día de hoy?", False),  # as in the clip
        ("Repeat what was said.", "Guten Tag, wie geht es Ihnen heute?", True),
        ("Say it in the speaker's own language.", "Guten Tag, wie geht es Ihnen?", False),
    ],
)
def test_the_prompt_says_which_language_is_wanted(prompt: str, text: str, is_wrong: bool) -> None:
    heard = "Hola, ¿cómo estás hoy, mi amigo?"
    assert wrong(text, prompt, "transform", heard) is is_wrong


def test_a_prompt_that_asks_between_languages_is_answered_in_english() -> None:
    assert wrong("Es ist ein deutscher Satz.", "Is this German or Dutch?", "ask")
    assert not wrong("It is a German sentence.", "Is this German or Dutch?", "ask")
