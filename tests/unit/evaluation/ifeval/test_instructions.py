"""Each instruction: an answer that follows it, one that does not, and where the rule is odd."""

import subprocess
import sys
from typing import Any

import pytest

from desta.errors import DataError
from desta.evaluation.ifeval.checkers import CHECKERS, Variant
from desta.evaluation.ifeval.following import (
    Instruction,
    follow,
    follow_strictly,
    read_instructions,
)
from desta.evaluation.ifeval.text import (
    count_words,
    detect_language,
    split_sentences,
    split_tokens,
)

ENGLISH = "this is an ordinary sentence about the weather in the north of england"
SPANISH = "esta es una frase corriente sobre el tiempo que hace en el norte de la ciudad"
RUSSIAN = "ЭТО ОБЫЧНОЕ ПРЕДЛОЖЕНИЕ О ПОГОДЕ НА СЕВЕРЕ СТРАНЫ"
AT_LEAST, LESS_THAN = {"relation": "at least"}, {"relation": "less than"}

SAME_IN_BOTH: list[tuple[str, dict[str, Any], str, bool]] = [
    ("keywords:existence", {"keywords": ["art"]}, "a PARTY", True),  # inside a word, any case
    ("keywords:existence", {"keywords": ["art", "song"]}, "an art", False),
    ("keywords:existence", {"keywords": ["ab?c"]}, "ac", True),  # a pattern, not a word
    ("keywords:forbidden_words", {"forbidden_words": ["art"]}, "a party", True),  # whole words only
    ("keywords:forbidden_words", {"forbidden_words": ["art"]}, "Art!", False),
    ("keywords:frequency", {"keyword": " the ", "frequency": 2} | AT_LEAST, "The other", True),
    ("keywords:frequency", {"keyword": "the", "frequency": 2} | LESS_THAN, "the theme", False),
    ("keywords:letter_frequency", {"letter": "A", "let_frequency": 2, "let_relation": "at least"},
     "aA", True),
    ("keywords:letter_frequency", {"letter": "a", "let_frequency": 2, "let_relation": "less than"},
     "aA", False),
    ("language:response_language", {"language": "es"}, SPANISH, True),
    ("language:response_language", {"language": "es"}, ENGLISH, False),
    ("language:response_language", {"language": "es"}, "123 !", True),  # no language: followed
    ("length_constraints:number_sentences", {"num_sentences": 2} | AT_LEAST,
     "Dr. Smith is in. He waits.", True),
    ("length_constraints:number_sentences", {"num_sentences": 2} | LESS_THAN, "A. Is it? Yes!",
     False),
    ("length_constraints:number_words", {"num_words": 3} | AT_LEAST, "It's so", True),  # it s so
    ("length_constraints:number_words", {"num_words": 3} | LESS_THAN, "one two three", False),
    ("length_constraints:nth_paragraph_first_word",
     {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"}, "First\n\n'then, it", True),
    ("length_constraints:nth_paragraph_first_word",
     {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"}, "a\n\nthen\n\nb", False),
    ("length_constraints:nth_paragraph_first_word",
     {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "a"}, "\n\na", False),  # blank first
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and []", True),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a\n] and [b]", False),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\np. s. see you", True),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "P.S. bye", False),
    ("detectable_content:postscript", {"postscript_marker": "Note:"}, "so\nNOTE: x", True),
    ("detectable_format:constrained_response", {}, "Well. My answer is no.", True),
    ("detectable_format:constrained_response", {}, "My answer is No.", False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "*a*", True),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "** * **a**", True),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "* *", False),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2},
     "Section 1 a Section2 b", True),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 1},
     "Section 1", False),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', True),
    ("detectable_format:json_format", {}, "5", True),
    ("detectable_format:json_format", {}, "{'a': 1}", False),
    ("detectable_format:json_format", {}, "[" * 100_000, False),  # not a crash
    ("detectable_format:title", {}, "<<A song>>\nla", True),
    ("detectable_format:title", {}, "<< >> and <<\n>>", False),
    ("combination:two_responses", {}, "a ****** b", True),
    ("combination:two_responses", {}, "a ****** a ", False),
    ("combination:two_responses", {}, "a ****** ****** b", False),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it. "}, " say it. So:", True),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "Sure. Say it.", False),
    ("startend:end_checker", {"end_phrase": "The end. "}, 'so "the END."', True),
    ("startend:end_checker", {"end_phrase": "The end."}, "The end. Bye", False),
    ("startend:quotation", {}, ' "a" ', True),
    ("startend:quotation", {}, '"', False),
    ("startend:quotation", {}, "“a”", False),
    ("punctuation:no_comma", {}, "a; b", True),
    ("punctuation:no_comma", {}, "a, b", False),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"},
     "I like the U.S.", True),
    ("change_case:capital_word_frequency",
     {"capital_frequency": 1, "capital_relation": "less than"}, "A well-KNOWN one", False),
    ("change_case:english_capital", {}, ENGLISH.upper(), True),
    ("change_case:english_capital", {}, ENGLISH.title(), False),
    ("change_case:english_lowercase", {}, ENGLISH, True),
    ("change_case:english_lowercase", {}, ENGLISH.title(), False),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n - b\n**c**", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "* a\n* b", False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a ***\nb\n***", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 3}, "a *** *** b", False),
]  # fmt: skip

CHANGED: list[tuple[str, dict[str, Any], str, bool, bool]] = [
    # instruction, arguments, answer, official, speech_ifeval
    ("change_case:english_capital", {}, RUSSIAN, False, True),
    ("change_case:english_lowercase", {}, SPANISH, False, True),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "\"'Say it.'\"", False, True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "• a\n1. b", False, True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\\n* b", False, True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "- a\n2 b", True, False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n\nb\n", False, True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n \nb", False, False),
]


def follows(name: str, arguments: dict[str, Any], answer: str, variant: Variant) -> bool:
    instruction = Instruction(id=name, arguments=arguments)
    return follow_strictly([instruction], answer, variant, seed="q")[0]


@pytest.mark.parametrize("variant", ["official", "speech_ifeval"])
@pytest.mark.parametrize(("name", "arguments", "answer", "expected"), SAME_IN_BOTH)
def test_rule_that_both_variants_share(
    variant: Variant, name: str, arguments: dict[str, Any], answer: str, expected: bool
) -> None:
    assert follows(name, arguments, answer, variant) is expected


@pytest.mark.parametrize(("name", "arguments", "answer", "official", "speech_ifeval"), CHANGED)
def test_rule_that_speech_ifeval_changed(
    name: str, arguments: dict[str, Any], answer: str, official: bool, speech_ifeval: bool
) -> None:
    assert follows(name, arguments, answer, "official") is official
    assert follows(name, arguments, answer, "speech_ifeval") is speech_ifeval


def test_every_instruction_has_cases_that_pass_and_fail() -> None:
    outcomes = {(name, expected) for name, _, _, expected in SAME_IN_BOTH}

    assert outcomes == {(name, flag) for name in CHECKERS["official"] for flag in (True, False)}
    assert CHECKERS["official"].keys() == CHECKERS["speech_ifeval"].keys()


@pytest.mark.parametrize("answer", ["", " \n"])
def test_blank_answer_follows_nothing(answer: str) -> None:
    assert not follows("punctuation:no_comma", {}, answer, "official")


def test_loose_reading_forgives_first_and_last_line_and_asterisks() -> None:
    lower = [Instruction(id="change_case:english_lowercase", arguments={})]
    quoted = [Instruction(id="startend:quotation", arguments={})]

    politely = follow(lower, f"Sure, here it is:\n{ENGLISH}\nAnything else?", "official", seed="q")
    bold = follow(quoted, '**"a"**', "official", seed="q")
    wrong = follow(quoted, "a\nb\nc", "official", seed="q")

    assert (politely.strict, politely.loose) == ((False,), (True,))
    assert (bold.strict, bold.loose) == ((False,), (True,))
    assert (wrong.strict, wrong.loose) == ((False,), (False,))


def test_argument_left_out_is_drawn_the_same_each_time_and_counted() -> None:
    letter = {"letter": "#", "let_frequency": 1, "let_relation": "at least"}  # a published item
    instruction = [Instruction(id="keywords:letter_frequency", arguments=letter)]

    outcomes = [follow(instruction, "abcdefg", "official", seed=str(seed)) for seed in range(40)]
    again = [follow(instruction, "abcdefg", "official", seed=str(seed)) for seed in range(40)]

    assert outcomes == again
    assert {f.strict for f in outcomes} == {(True,), (False,)}  # the draw hangs on the seed
    assert outcomes[0].drawn == ("keywords:letter_frequency: letter",)
    assert all(f.drawn for f in outcomes)


@pytest.mark.parametrize(
    ("name", "arguments", "drawn"),
    [
        ("length_constraints:number_words", {"num_words": -1, "relation": None},
         ["num_words", "relation"]),
        ("length_constraints:nth_paragraph_first_word",
         {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"}, ["nth_paragraph"]),
        ("change_case:capital_word_frequency",
         {"capital_frequency": -1, "capital_relation": "at least"}, []),
        ("detectable_format:multiple_sections", {"num_sections": 0}, ["section_spliter"]),
        ("startend:end_checker", {}, ["end_phrase"]),
    ],
)  # fmt: skip
def test_what_is_drawn(name: str, arguments: dict[str, Any], drawn: list[str]) -> None:
    following = follow([Instruction(id=name, arguments=arguments)], "a", "official", seed="q")

    assert list(following.drawn) == [f"{name}: {argument}" for argument in drawn]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("keywords:exists", {}, 'unknown instruction "keywords:exists"'),
        ("keywords:existence", {}, "'keywords' is missing"),
        ("keywords:existence", {"keywords": "art"}, "'keywords' is 'art', not a list"),
        ("keywords:existence", {"keywords": ["("]}, "is no regular expression"),
        ("keywords:frequency", {"keyword": "", "frequency": 1}, "not a text"),
        ("keywords:letter_frequency", {"letter": 3}, "'letter' is 3, not a letter"),
        ("length_constraints:number_words", {"num_words": "3"}, "'num_words' is '3', not a number"),
        ("length_constraints:number_words", {"relation": "at most"}, "less than or at least"),
        ("combination:repeat_prompt", {}, "'prompt_to_repeat' is missing"),
        ("punctuation:no_comma", {"num_commas": 1}, "has no argument 'num_commas'"),
    ],
)
def test_wrong_instruction_is_one_sentence(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        follows(name, arguments, "a", "official")


def test_null_arguments_count_as_left_out() -> None:
    assert follows("punctuation:no_comma", {"num_words": None}, "a", "official")


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"instruction_id_list": ["a"], "kwargs": []},
        {"instruction_id_list": ["a"], "kwargs": [None]},
        {"instruction_id_list": "a", "kwargs": [{}]},
    ],
)
def test_question_with_broken_instructions_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="question 7"):
        read_instructions(record | {"id": 7})


def test_text_is_counted_as_nltk_counts_it() -> None:
    assert count_words("Don't! 2-3 naïve_x") == 5
    assert split_sentences("He met Dr. Smith. (So.) Then?! End?!") == [
        "He met Dr. Smith.", "(So.)", "Then?!", "End?", "!",
    ]  # fmt: skip
    assert split_tokens("I'm in the U.S.A. now. OK") == [
        "I", "'m", "in", "the", "U.S.A.", "now", ".", "OK",
    ]  # fmt: skip
    assert detect_language(ENGLISH) == "en"
    assert detect_language("123") is None


def test_language_of_a_doubtful_text_is_the_same_in_every_process() -> None:
    code = (
        "from desta.evaluation.ifeval.text import detect_language as d;"
        "print([d(t) for t in ('no', 'ok so', 'la la la', 'more', 'hi all')])"
    )
    runs = {subprocess.check_output([sys.executable, "-c", code]) for _ in range(3)}

    assert len(runs) == 1
