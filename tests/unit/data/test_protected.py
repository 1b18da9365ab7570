"""No pair gets a kind of augmentation that changes what it states or asks."""

from dataclasses import replace

import pytest

from desta.audio.augment.config import KINDS
from desta.data.protected import (
    CHANGED_ATTRIBUTES,
    CHANGED_WORDS,
    UNCHANGED_ATTRIBUTES,
    changing_kinds,
    unknown_attributes,
)
from desta.records import AudioRef, AudioTextPair, Message
from desta.sources.glossary import OPEN_ATTRIBUTES
from support.sources import CLOSED_ATTRIBUTES


def make(
    attributes: str, prompt: str = "What is it?", response: str = "A voice.", words: str = ""
) -> AudioTextPair:
    return AudioTextPair(
        id="1",
        dataset="c",
        seed_description=f"[00:00-00:04] {words}({attributes})",
        prompt=prompt,
        response=response,
        messages=(),
    )


def test_the_tables_are_about_every_kind_and_every_attribute_of_the_sources() -> None:
    assert set(CHANGED_ATTRIBUTES) == set(CHANGED_WORDS) == set(KINDS)
    known = UNCHANGED_ATTRIBUTES.union(*CHANGED_ATTRIBUTES.values())
    assert known >= CLOSED_ATTRIBUTES | OPEN_ATTRIBUTES
    assert UNCHANGED_ATTRIBUTES.isdisjoint({n for s in CHANGED_ATTRIBUTES.values() for n in s})


@pytest.mark.parametrize(
    ("attributes", "kinds"),
    [
        ("Noise level: Noisy, Duration: 4s", {"noise", "room", "low_pass", "telephone", "codec"}),
        ("Signal-to-noise ratio: 15dB", {"noise", "clipping"}),
        ("Reverberation (C50): 60dB", {"room"}),
        ("Volume: Low", {"gain", "clipping"}),
        ("Source: Real human", {"codec", "speed", "noise", "telephone"}),
        ("Speech quality: Poor", {"codec", "low_pass", "clipping", "room", "noise"}),
        ("Pitch: High", {"speed"}),
        ("Note: C#", {"speed"}),
        ("Emotion: Angry", {"speed"}),
        ("Number of speakers: 3", {"room", "crop"}),
        ("Second note: Higher", {"speed", "crop"}),
        ("mos_score: 2, Speech_quality: 2/5(Poor)", {"codec", "noise"}),  # as published
        ("Pitch Type: low pitch, Noise Type: clean", {"speed", "noise"}),
    ],
)
def test_a_stated_attribute_rules_out_what_changes_it(attributes: str, kinds: set[str]) -> None:
    assert kinds <= changing_kinds(make(attributes))


@pytest.mark.parametrize(
    ("prompt", "response", "kinds"),
    [
        ("How loud is it?", "Rather.", {"gain", "clipping"}),
        ("Is this a phone call?", "It may be.", {"telephone", "low_pass", "codec"}),
        ("What do you hear in the background?", "Nothing.", {"noise", "room"}),
        ("Does the room echo?", "No.", {"room"}),
        ("How long is it?", "Short.", {"speed", "silence"}),
        ("What do you hear?", "A dog barks for 4s.", {"speed", "silence"}),
        ("What do you hear?", "From 00:02 on a dog barks.", {"speed", "silence"}),
        ("What do you hear?", "A high-pitched whistle.", {"speed"}),
        ("What do you hear?", "It is a low-quality recording.", {"codec", "noise", "clipping"}),
        ("What do you hear?", "Rain.", {"noise"}),
        ("What do you hear?", "It is very QUIET.", {"gain"}),
    ],
)
def test_a_word_of_prompt_or_response_rules_out_what_changes_it(
    prompt: str, response: str, kinds: set[str]
) -> None:
    assert kinds <= changing_kinds(make("Duration: 4s", prompt, response))


@pytest.mark.parametrize(
    ("attributes", "prompt", "response"),
    [
        ("Language: French, Duration: 4s", "Which language is spoken?", "They speak French."),
        ("Gender: Female, Duration: 4s", "Is it a man or a woman?", "It is a woman."),
        ("Instrument: Piano, Duration: 1s", "Which instrument is it?", "A piano."),
    ],
)
def test_a_question_about_nothing_that_is_changed_rules_out_nothing(
    attributes: str, prompt: str, response: str
) -> None:
    assert changing_kinds(make(attributes, prompt, response)) == set()


def test_a_sound_may_be_in_one_part_of_a_clip_only() -> None:
    pair = make("Sound: Dog, Sound class: Dog, Duration: 2s", "What animal is it?", "It is a dog.")
    assert changing_kinds(pair) == {"crop"}


@pytest.mark.parametrize(("given", "kinds"), [("Good day.", {"crop"}), (" ", set()), (None, set())])
def test_a_transcription_that_is_given_is_that_of_the_whole_clip(
    given: str | None, kinds: set[str]
) -> None:
    pair = make("Language: English", "Which language is it?", "English.", "Good day. ")
    message = Message(
        role="user", content="<|AUDIO|>", audios=(AudioRef(audio="a.wav", text=given),)
    )
    assert changing_kinds(replace(pair, messages=(message,))) == kinds


def test_words_of_the_transcription_are_not_asked_about() -> None:
    words = "How loud was the noise, how long did it last? "
    pair = make("Language: English", "Which language is it?", "English.", words)
    assert changing_kinds(pair) == frozenset()


def test_an_attribute_that_nobody_knows_rules_out_everything_until_it_is_listed() -> None:
    pair = make("Bearing: Worn, Duration: 4s")
    assert changing_kinds(pair) == frozenset(KINDS)
    assert unknown_attributes(pair) == ["bearing"]
    own = {"Bearing": ("low_pass", "codec")}
    assert changing_kinds(pair, own) == frozenset({"low_pass", "codec"})
    assert unknown_attributes(pair, own) == []
    assert changing_kinds(pair, {"Bearing": ()}) == frozenset()
