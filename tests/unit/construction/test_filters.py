from dataclasses import replace
from typing import Any

import pytest

from desta.config import build_config
from desta.construction.attribute_values import closed_sets
from desta.construction.config import ConstructConfig
from desta.construction.filters import FILTERS, Candidate, first_failed
from desta.construction.prompts import Prompt
from desta.errors import ConfigError
from desta.generators.base import Completion
from desta.records import Clip, Domain, Segment

CORPUS: list[tuple[Domain, dict[str, str]]] = [
    ("speech", {"Language": "French", "Gender": "Female"}),
    ("speech", {"Language": "Russian", "Gender": "male"}),
    ("sound", {"Sound class": "Dog"}),
    ("sound", {"Sound class": "Bird song"}),
    ("music", {"Instrument": "Bass drum", "Category": "Drum"}),
    ("music", {"Instrument": "Piano", "Category": "Bass"}),
    ("speech", {"Gender": "Female"}),
    ("sound", {"Sound": "Speech / Gush"}),
    ("sound", {"Sound": "Gush / Rain"}),
    ("speech", {"Command": "yes", "Speaker": "3", "Gender": "Female / Male", "Pitch": "3"}),
    ("speech", {"Command": "no", "Speaker": "Will", "Song": "French", "Pitch": "5"}),
]


def clip(number: int) -> Clip:
    domain, attributes = CORPUS[number]
    return Clip(
        id=str(number),
        source="c",
        audio="a.wav",
        duration=3.2,
        domain=domain,
        attributes=attributes,
    )


CLOSED_SETS = closed_sets(map(clip, range(len(CORPUS))))


def candidate(text: str, number: int = 0, asks: str = "", finished: bool = True) -> Candidate:
    prompt = Prompt(
        text="?",
        kind="ask" if asks else "describe",
        needs=frozenset([asks] if asks else []),
        needs_transcription=False,
    )
    return Candidate(
        clip=clip(number),
        prompt=prompt,
        completion=Completion(text=text, num_tokens=len(text.split()), finished=finished),
        closed_sets=CLOSED_SETS,
    )


@pytest.mark.parametrize("text", ["", " \n", "...", "“”"])
def test_what_has_no_word_is_empty(text: str) -> None:
    assert first_failed(candidate(text), ["empty"]) == "empty"


def test_a_response_without_end_is_cut_off() -> None:
    assert FILTERS["cut_off"].drops(candidate("A woman", finished=False))
    assert not FILTERS["cut_off"].drops(candidate("A woman"))


@pytest.mark.parametrize(
    "text",
    [
        "no no no no no",
        "Hello there. Hello there. Hello there.",
        "It is a dog, and it is a dog, and it is a dog, and so on",
        "我我我我我",
        "Бълбълбълбълбълбълбълбъ",
    ],
)
def test_loops_are_found(text: str) -> None:
    assert FILTERS["repeats_itself"].drops(candidate(text))


@pytest.mark.parametrize(
    "text", ["very, very, very loud", "A dog. A cat. A dog. A cat.", "ha ha ha ha", "1 2 3 4 5 6"]
)
def test_ordinary_repetition_passes(text: str) -> None:
    assert not FILTERS["repeats_itself"].drops(candidate(text))


@pytest.mark.parametrize(
    "text",
    [
        "The description says it is French.",
        "Based on the text, she is happy.",
        "According to the provided metadata",
        "In this audio transcript",
        "[00:00-00:03] A woman",
        "A dog (Sound class: Dog, Duration: 3s)",
        "<start_audio>",
        "<begin_text> <end_text>",
    ],
)
def test_talk_about_the_text_is_found(text: str) -> None:
    assert FILTERS["talks_about_text"].drops(candidate(text))


@pytest.mark.parametrize("text", ["The audio holds a voice.", "Here is a short description: ..."])
def test_talk_about_the_audio_passes(text: str) -> None:
    assert not FILTERS["talks_about_text"].drops(candidate(text))


@pytest.mark.parametrize(
    ("text", "number", "asks", "misses"),
    [
        ("She speaks French.", 0, "Language", False),
        ("It is FRENCH!", 0, "Language", False),
        ("A romance language.", 0, "Language", True),
        ("The Frenchman speaks.", 0, "Language", True),
        ("A young woman.", 0, "Gender", False),
        ("A human.", 0, "Gender", True),
        ("Two dogs bark.", 2, "Sound class", False),
        ("It lasts 3 seconds.", 0, "Duration", False),
        ("A three-second clip.", 0, "Duration", False),
        ("It lasts 13 seconds.", 0, "Duration", True),
        ("It lasts 0.3 seconds.", 0, "Duration", True),
        ("It lasts 3 minutes and 3 seconds.", 0, "Duration", True),
        ("It goes on for 3s.", 0, "Duration", False),
        ("It has 3 men.", 0, "Duration", True),
    ],
)
def test_an_attribute_asked_for_must_be_named(
    text: str, number: int, asks: str, misses: bool
) -> None:
    assert FILTERS["misses_attribute"].drops(candidate(text, number, asks)) is misses


@pytest.mark.parametrize(
    ("text", "number", "asks", "misses"),
    [
        ("Water gushes.", 7, "Sound", False),  # "gushes": a plural of gush
        ("I hear speech.", 7, "Sound", False),
        ("I hear rain.", 7, "Sound", True),
        ("A man and a woman.", 9, "Gender", False),
        ("Two people.", 9, "Gender", True),
    ],
)
def test_one_of_several_values_is_enough(text: str, number: int, asks: str, misses: bool) -> None:
    assert FILTERS["misses_attribute"].drops(candidate(text, number, asks)) is misses


@pytest.mark.parametrize(
    ("text", "number", "states"),
    [
        ("Speech, then a gush.", 7, False),
        ("Speech in the rain.", 7, True),
        ("He and she speak.", 9, False),
        ("There is no doubt: 5 of them say yes and will go.", 9, False),  # open, or numbers
        ("A voice says no to 3 people.", 10, False),
    ],
)
def test_values_are_compared_one_by_one_and_open_attributes_not_at_all(
    text: str, number: int, states: bool
) -> None:
    assert FILTERS["states_other_value"].drops(candidate(text, number)) is states


def test_an_attribute_not_asked_for_need_not_be_named() -> None:
    assert not FILTERS["misses_attribute"].drops(candidate("A voice."))


@pytest.mark.parametrize(
    ("text", "number", "states"),
    [
        ("She speaks French.", 0, False),
        ("She speaks French, not Russian.", 0, True),
        ("He speaks French.", 0, True),
        ("A man speaks Russian.", 1, False),
        ("Russian dogs.", 2, False),  # a sound has no language: nothing is contradicted
        ("The song of a bird.", 2, False),
        ("A bird song.", 2, True),
        ("A bass drum.", 4, False),  # "bass" is another category, but part of what is stated
        ("A bass and a bass drum.", 4, True),
    ],
)
def test_other_values_of_the_closed_set_are_found(text: str, number: int, states: bool) -> None:
    assert FILTERS["states_other_value"].drops(candidate(text, number)) is states


def test_the_first_fault_in_the_order_of_the_recipe_counts() -> None:
    both = candidate("", finished=False)
    assert first_failed(both, ["empty", "cut_off"]) == "empty"
    assert first_failed(both, ["cut_off", "empty"]) == "cut off"
    assert first_failed(candidate("Fine."), list(FILTERS)) is None


def test_a_misspelt_filter_is_an_error_with_a_suggestion() -> None:
    tree = {
        "clips": [{"path": "clips.jsonl", "root": "."}],
        "backbone": "b",
        "sampling": {},
        "filters": ["cutoff"],
    }
    with pytest.raises(ConfigError, match='did you mean "cut_off"'):
        build_config(ConstructConfig, tree, where="recipe.yaml")


@pytest.mark.parametrize(
    ("text", "number", "asks", "invents"),
    [
        ("It is a woman.", 2, "Gender", False),  # no sound has one: nothing to compare with
        ("The language is Russian.", 6, "Language", True),
        ("The language cannot be told from what is heard.", 6, "Language", False),
        ("The language is French.", 0, "Language", False),  # known, and not this filter's concern
        ("A French voice.", 6, "", False),  # nobody asked
    ],
)
def test_a_value_of_an_unknown_attribute_is_an_invention(
    text: str, number: int, asks: str, invents: bool
) -> None:
    assert FILTERS["invents_attribute"].drops(candidate(text, number, asks)) is invents


def test_an_unknown_attribute_cannot_be_missed() -> None:
    assert not FILTERS["misses_attribute"].drops(candidate("I cannot tell.", 6, "Language"))


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but as an AI language model I cannot listen to audio.",
        "As a text-based assistant, I have no ears.",
        "I am just a language model and cannot process sound.",
        "There is no audio file attached.",
        "No recording was provided, so I cannot describe it.",
        "Please upload the audio clip so that I can help you.",
        "I don't have the ability to hear recordings.",
        "I can't hear the audio.",
        "Unfortunately, I am unable to listen to the clip.",
        "I’m sorry, but I cannot determine the language.",
        "I cannot assist with that.",
        "I cannot determine who is speaking.",
    ],
)
def test_refusals_are_found(text: str) -> None:
    assert FILTERS["refuses"].drops(candidate(text, asks="Language"))


@pytest.mark.parametrize(
    "text",
    [
        "I hear a woman. There is no music.",
        "She says that she is sorry and cannot come.",
        "It is hard to tell, but it sounds French.",
        "The voice is calm; I cannot hear any anger in it.",
        "There is no doubt that it is French.",
        "Please listen to the recording again: it is French.",
        "The speaker apologises: I'm sorry.",
    ],
)
def test_what_only_sounds_like_a_refusal_passes(text: str) -> None:
    assert not FILTERS["refuses"].drops(candidate(text))


def test_not_to_know_the_unknown_is_no_refusal_but_to_hear_nothing_is() -> None:
    assert not FILTERS["refuses"].drops(candidate("I cannot tell the language.", 6, "Language"))
    assert not FILTERS["refuses"].drops(candidate("I'm sorry, I can't say.", 6, "Language"))
    assert FILTERS["refuses"].drops(candidate("As an AI, I have no ears.", 6, "Language"))


def test_a_role_may_be_a_program() -> None:
    asked = candidate("As an AI aboard this ship, I report: a woman speaks French.")
    assert FILTERS["refuses"].drops(asked)
    role = replace(asked.prompt, text="You are a ship's computer. Report.", kind="role-play")
    assert not FILTERS["refuses"].drops(replace(asked, prompt=role))


def test_a_prompt_that_wants_a_caption_may_get_one() -> None:
    answer = candidate("Here is the caption: A dog barks.")
    assert FILTERS["talks_about_text"].drops(answer)
    wanted = replace(answer.prompt, text="Write a caption.")
    assert not FILTERS["talks_about_text"].drops(replace(answer, prompt=wanted))
    assert FILTERS["talks_about_text"].drops(
        replace(candidate("The caption follows the text."), prompt=wanted)
    )


@pytest.mark.parametrize("words", [30, 300, 3000])
def test_a_loop_at_the_end_of_a_long_response_is_found(words: int) -> None:
    text = " ".join(map(str, range(words)))
    assert not FILTERS["repeats_itself"].drops(candidate(text))
    assert FILTERS["repeats_itself"].drops(candidate(f"{text} so it goes so it goes so it goes"))


ORIGINS: list[dict[str, str]] = [
    {"Language": "French", "Native language": "Hindi"},
    {"Accent": "English", "Gender": "Male"},
    {"Native language": "English", "Accent": "Indian"},
    {"Native language": "Hindi", "Gender": "Female"},
    {"Language": "English", "Accent": "Indian"},
    {"Language": "Hindi", "Accent": "French"},
]


def states_other(response: str, attributes: dict[str, str], **changes: Any) -> bool:
    speech = replace(clip(0), attributes=attributes, **changes.pop("clip", {}))
    sets = closed_sets(replace(speech, attributes=a) for a in ORIGINS)
    asked = replace(candidate(response), clip=speech, closed_sets={**CLOSED_SETS, **sets})
    return FILTERS["states_other_value"].drops(
        replace(asked, prompt=replace(asked.prompt, **changes))
    )


@pytest.mark.parametrize(
    ("text", "attributes", "states"),
    [
        # nothing is known of the language: English may be it
        ("She speaks English.", {"Accent": "Indian"}, False),
        ("She speaks English.", {"Native language": "Hindi", "Accent": "Indian"}, False),
        ("She speaks English with an Indian accent.", {"Accent": "Indian"}, False),
        ("She speaks English with a French accent.", {"Accent": "Indian"}, True),
        ("A French-accented voice.", {"Accent": "Indian"}, True),
        ("She is a native English speaker.", {"Native language": "Hindi"}, True),
        ("Her first language is English.", {"Native language": "Hindi"}, True),
        ("She speaks English with an Indian accent.", {"Language": "English"}, False),
        ("She speaks Hindi.", {"Language": "English", "Accent": "Indian"}, True),
        ("The audio is in Hindi.", {"Language": "English"}, True),
        ("A Hindi accent.", {"Language": "English"}, False),
        # a word that any attribute of the clip has is right
        ("She speaks Hindi.", {"Language": "English", "Native language": "Hindi"}, False),
        # neither the words around it nor the prompt tell: all owners must be known
        ("French.", {"Language": "English"}, False),
        ("French.", {"Language": "English", "Accent": "Indian", "Native language": "Hindi"}, True),
    ],
)
def test_origins_are_compared_attribute_by_attribute(
    text: str, attributes: dict[str, str], states: bool
) -> None:
    assert states_other(text, attributes) is states


def test_the_prompt_tells_which_attribute_a_bare_word_is() -> None:
    needs = frozenset(["Language"])
    assert states_other("French.", {"Language": "English"}, needs=needs, kind="ask")
    assert not states_other("French.", {"Language": "French"}, needs=needs, kind="ask")


def test_words_of_the_clip_and_of_the_prompt_contradict_nothing() -> None:
    words = (Segment(start=0.0, end=1.0, text="He is a man of honour."),)
    female = {"Gender": "Female"}
    assert states_other("He is honest.", female)
    assert not states_other("It is about a man.", female, clip={"segments": words})
    spanish = {"Language": "French", "Gender": "Female"}
    text = "Translate it into Hindi."
    assert states_other("In Hindi: ...", spanish)
    assert not states_other("In Hindi: ...", spanish, text=text, kind="transform")
    # but a prompt about the attribute itself does not excuse a wrong value
    needs = frozenset(["Language"])
    assert states_other("Yes, in Hindi.", spanish, text="Is it Hindi?", kind="format", needs=needs)


def test_notes_are_not_looked_for_among_words() -> None:
    notes = [replace(clip(4), attributes={"Tonic": tonic}) for tonic in ("A", "C", "C#", "D")]
    asked = replace(candidate("A drum.", 4, "Tonic"), clip=notes[1], closed_sets=closed_sets(notes))
    assert not FILTERS["states_other_value"].drops(asked)
    assert FILTERS["misses_attribute"].drops(asked)
    for text, misses in (("It is C.", False), ("C# it is", True), ("C'est un tambour", True)):
        completion = replace(asked.completion, text=text)
        assert FILTERS["misses_attribute"].drops(replace(asked, completion=completion)) is misses


@pytest.mark.parametrize(
    ("text", "number", "asks", "drops"),
    [
        ("They speak French.", 0, "Language", False),
        ("French, spoken by a woman.", 0, "Language", False),
        ("A woman speaks French.", 0, "Language", True),
        ("A woman speaks French.", 0, "Gender", False),
        ("As far as I can tell from listening to it, French.", 0, "Language", True),
        ("They speak Russian.", 0, "Language", True),
        ("This is the sound of a dog.", 2, "Sound class", False),
        ("It lasts about 3 seconds.", 0, "Duration", False),
        ("A woman speaks for 3 seconds.", 0, "Duration", True),
        ("A drum, the bass drum.", 4, "Instrument", True),
        ("A bass drum, which is a drum.", 4, "Instrument", False),
        ("Whatever it is.", 0, "", False),
        ("I cannot tell.", 6, "Language", False),  # unknown
    ],
)
def test_a_response_must_begin_with_what_was_asked(
    text: str, number: int, asks: str, drops: bool
) -> None:
    assert FILTERS["begins_with_other"].drops(candidate(text, number, asks)) is drops


def test_a_recipe_says_how_many_words_are_the_beginning() -> None:
    late = candidate("I think that this must be French.", asks="Language")
    assert not FILTERS["begins_with_other"].drops(late)
    assert FILTERS["begins_with_other"].drops(replace(late, first_words=6))
    assert not FILTERS["begins_with_other"].drops(replace(late, first_words=7))
