"""Sentences and their phonemes."""

import importlib.resources
import re
import unicodedata
from collections import Counter
from itertools import product

import pytest

from desta.errors import ConfigError
from desta.sources.rendered.kana import phonemes_of_kana
from desta.sources.rendered.mandarin import syllable_phonemes
from desta.sources.rendered.sentences import Sentence, read_sentences
from desta.sources.rendered.voices import VOICES, draw_blends, find_voice

LANGUAGES = ("en", "es", "fr", "hi", "it", "ja", "pt", "zh")
UNSPACED = ("ja", "zh")
TELLING = (
    *("english", "spanish", "french", "hindi", "italian", "japanese", "portuguese", "chinese"),
    *("español", "castellano", "inglés", "français", "anglais", "italiano", "inglese"),
    *(
        "português",
        "inglês",
        "हिंदी",
        "हिन्दी",
        "अंग्रेज़ी",
        "日本語",
        "英語",
        "中文",
        "汉语",
        "英语",
        "普通话",
    ),
)
"""Names of languages, as a speaker of each would say them."""


def all_sentences() -> list[Sentence]:
    return [
        sentence
        for language in LANGUAGES
        for held_out in (False, True)
        for sentence in read_sentences(language, held_out=held_out)
    ]


def num_words(sentence: Sentence, language: str) -> float:
    """Words; two characters of Chinese or Japanese count as one."""
    if language in UNSPACED:
        return sum(unicodedata.category(c)[0] == "L" for c in sentence.text) / 2
    return len(sentence.text.split())


def test_every_language_of_a_voice_has_sentences() -> None:
    assets = importlib.resources.files("desta") / "assets/sentences"
    for folder in (assets, assets / "held_out"):
        names = {path.name for path in folder.iterdir() if path.is_file()}
        assert names == {f"{code}.txt" for code in LANGUAGES}
    assert {voice.language for voice in VOICES.values()} == {*LANGUAGES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_sixty_different_sentences_short_and_long(language: str) -> None:
    sentences = read_sentences(language)
    lengths = [num_words(sentence, language) for sentence in sentences]

    assert len({sentence.text for sentence in sentences}) == len(sentences) >= 60
    assert min(lengths) <= 4
    assert 15 <= max(lengths) <= 25
    assert sum(length >= 12 for length in lengths) >= 10


def test_topics_are_as_frequent_in_every_language() -> None:
    topics = {
        language: sorted(sentence.topic for sentence in read_sentences(language))
        for language in LANGUAGES
    }

    assert len(set(topics["en"])) == 12
    assert all(found == topics["en"] for found in topics.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_sentences_are_others_one_a_topic(language: str) -> None:
    held_out, others = read_sentences(language, held_out=True), read_sentences(language)
    assert sorted(s.topic for s in held_out) == sorted({s.topic for s in others})
    assert not {s.text for s in held_out} & {s.text for s in others}
    assert not {s.id for s in held_out} & {s.id for s in others}


def test_no_sentence_names_a_language() -> None:
    named = [
        sentence.id
        for sentence in all_sentences()
        if any(word in sentence.text.casefold() for word in TELLING)
    ]

    assert named == []


def test_only_japanese_has_readings_and_they_are_kana() -> None:
    for sentence in all_sentences():
        if sentence.id.startswith("ja"):
            assert re.fullmatch(r"[\u3040-\u309fー、。？！ ]+", sentence.reading), sentence.id
        else:
            assert sentence.reading == sentence.text


def test_particles_and_long_vowels_of_readings_are_written_as_they_sound() -> None:
    for sentence in all_sentences():
        if not sentence.id.startswith("ja"):
            continue
        assert not re.search(r"(わ|に|で)?は( |、)", sentence.reading), sentence.id
        assert "を" not in sentence.reading, sentence.id


@pytest.mark.parametrize(
    ("kana", "phonemes"),
    [
        ("きょー", "kʲoː"),
        ("ふぁいと", "ɸaito"),
        ("さんぽ、さんか。", "sampo, saŋka."),
        ("こんにちわ", "koɲɲiʨiβa"),
        ("ほん", "hoɴ"),
        ("コーヒー", "koːçiː"),
    ],
)
def test_kana_are_read_with_small_ones_nasals_and_long_vowels(kana: str, phonemes: str) -> None:
    assert phonemes_of_kana(kana) == phonemes


@pytest.mark.parametrize(
    ("pinyin", "phonemes"),
    [
        ("shi4", "ʂɨ↘"),
        ("xue2", "ɕɥe↗"),
        ("jun1", "ʨy→n"),
        ("you3", "jou↓"),
        ("er2", "ɚ↗"),
        ("wen4", "wə↘n"),
        ("wu3", "u↓"),
        ("yuan2", "ɥɛ↗n"),
        ("lüe4", "lɥe↘"),
        ("ma5", "ma"),
        ("hm", "hm"),
    ],
)
def test_a_syllable_of_pinyin_becomes_phonemes_with_its_tone(pinyin: str, phonemes: str) -> None:
    assert syllable_phonemes(pinyin) == phonemes


def test_voices_that_sound_alike_share_group_and_split() -> None:
    groups: dict[str, set[str]] = {}
    for voice in VOICES.values():
        groups.setdefault(voice.group, set()).add(voice.split)

    assert len(VOICES) == 54
    assert all(len(splits) == 1 for splits in groups.values())
    assert VOICES["am_santa"].group == VOICES["pm_santa"].group


def test_every_language_and_sex_keeps_a_voice_for_training() -> None:
    kinds = {(voice.language, voice.gender) for voice in VOICES.values()}
    trained = {(v.language, v.gender) for v in VOICES.values() if v.split == "train"}

    assert kinds == trained


def test_blends_read_every_language_in_both_sexes_and_hold_no_voice_of_the_test() -> None:
    blends = draw_blends(3)

    kinds = Counter((blend.language, blend.gender) for blend in blends)
    assert kinds == {kind: 3 for kind in product(LANGUAGES, ("Female", "Male"))}
    assert len({blend.name for blend in blends}) == 48
    assert {blend.group for blend in blends}.isdisjoint(voice.group for voice in VOICES.values())
    for blend in blends:
        first, second = (VOICES[name] for name in blend.styles)
        assert first.split == second.split == blend.split == "train"
        assert first.gender == second.gender == blend.gender
        assert find_voice(blend.name) == blend


@pytest.mark.parametrize("name", ["f-ff_siwis", "x-ff_siwis-af_heart", "f-ff_siwis-af_hart", "f-"])
def test_a_blend_of_voices_that_are_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no voice"):
        find_voice(name)
