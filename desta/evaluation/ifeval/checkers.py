r"""One rule per instruction: from its arguments to a check of an answer.

A check is only asked about answers that are not blank. Rules are as lax and as odd as the official
ones: `existence` looks for "art" in "party", three lines of dashes are three bullets, `"5"` is
JSON. Speech-IFEval changed five of them; the others are the same in both variants.

    instruction (without its family)  official                  speech_ifeval
    english_capital                   upper case, and English   upper case
    english_lowercase                 lower case, and English   lower case
    repeat_prompt                     begins with the request   quotes around it are dropped first
    number_bullet_lists               lines with * or -         also with a bullet or a digit; a
                                                                written-out \n begins a line
    number_paragraphs                 parted by ***             parted by *** or by a new line
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal

from desta.evaluation.ifeval.arguments import Arguments
from desta.evaluation.ifeval.text import count_words, detect_language, split_sentences, split_tokens

Variant = Literal["official", "speech_ifeval"]
Predicate = Callable[[str], bool]
Checker = Callable[[Arguments], Predicate]

_STAR_OR_DASH = (r"^\s*\*[^\*].*$", r"^\s*-.*$")
_DOT_OR_DIGIT = (r"^\s*•.*$", r"^\s*\d.*$")
_FENCES = ("```json", "```Json", "```JSON", "```")
_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_ENDINGS = ("Any other questions?", "Is there anything else I can help with?")


def _existence(arguments: Arguments) -> Predicate:
    patterns = [arguments.pattern(k, re.IGNORECASE) for k in arguments.texts("keywords")]
    return lambda answer: all(pattern.search(answer) for pattern in patterns)


def _forbidden_words(arguments: Arguments) -> Predicate:
    words = arguments.texts("forbidden_words")
    patterns = [arguments.pattern(rf"\b{word}\b", re.IGNORECASE) for word in words]
    return lambda answer: not any(pattern.search(answer) for pattern in patterns)


def _frequency(arguments: Arguments) -> Predicate:
    pattern = arguments.pattern(arguments.text("keyword").strip(), re.IGNORECASE)
    limit = arguments.number("frequency", 1, 3)
    holds = arguments.relation("relation")
    return lambda answer: holds(len(pattern.findall(answer)), limit)


def _letter_frequency(arguments: Arguments) -> Predicate:
    letter = arguments.letter("letter")
    limit = arguments.number("let_frequency", 1, 10)
    holds = arguments.relation("let_relation")
    return lambda answer: holds(Counter(answer.lower())[letter], limit)


def _response_language(arguments: Arguments) -> Predicate:
    language = arguments.text("language")
    return lambda answer: detect_language(answer) in (language, None)


def _number_sentences(arguments: Arguments) -> Predicate:
    limit = arguments.number("num_sentences", 1, 20)
    holds = arguments.relation("relation")
    return lambda answer: holds(len(split_sentences(answer)), limit)


def _number_words(arguments: Arguments) -> Predicate:
    limit = arguments.number("num_words", 100, 500)
    holds = arguments.relation("relation")
    return lambda answer: holds(count_words(answer), limit)


def _number_paragraphs(arguments: Arguments) -> Predicate:
    number = arguments.number("num_paragraphs", 1, 5)
    return lambda answer: _count_parts(re.split(r"\s?\*\*\*\s?", answer)) == number


def _number_paragraphs_or_lines(arguments: Arguments) -> Predicate:
    number = arguments.number("num_paragraphs", 1, 5)
    return lambda answer: _count_parts(re.split(r"\s*\*\*\*\s*|\n+", answer.strip())) == number


def _count_parts(parts: list[str]) -> int | None:
    """Count parts, blank ones at the ends aside; None where one inside is blank."""
    if not all(part.strip() for part in parts[1:-1]):
        return None
    return len(parts) - (not parts[0].strip()) - (not parts[-1].strip())


def _nth_paragraph_first_word(arguments: Arguments) -> Predicate:
    number = arguments.number("num_paragraphs", 1, 5)
    position = int(arguments.number("nth_paragraph", 1, int(number) + 1, least=1, most=number))
    word = arguments.text("first_word").lower()

    def check(answer: str) -> bool:
        paragraphs = answer.split("\n\n")
        count = sum(bool(paragraph.strip()) for paragraph in paragraphs)
        if position > count or not paragraphs[position - 1].strip():
            return False
        first = paragraphs[position - 1].split()[0].lstrip("'").lstrip('"')
        letters = re.split(r"[.,?!'\"]", first)[0]
        return count == number and "".join(map(str.lower, letters)) == word

    return check


def _number_placeholders(arguments: Arguments) -> Predicate:
    limit = arguments.number("num_placeholders", 1, 4)
    return lambda answer: len(re.findall(r"\[.*?\]", answer)) >= limit


def _postscript(arguments: Arguments) -> Predicate:
    marker = arguments.text("postscript_marker", "P.S.", "P.P.S").strip()
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    pattern = arguments.pattern(known.get(marker, marker.lower()))
    return lambda answer: pattern.search(answer.lower()) is not None


def _bullet_lists(marks: tuple[str, ...], *, unescape: bool) -> Checker:
    patterns = [re.compile(mark, re.MULTILINE) for mark in marks]

    def checker(arguments: Arguments) -> Predicate:
        number = arguments.number("num_bullets", 1, 5)

        def check(answer: str) -> bool:
            lines = answer.replace("\\n", "\n") if unescape else answer
            return sum(len(pattern.findall(lines)) for pattern in patterns) == number

        return check

    return checker


def _constrained_response(arguments: Arguments) -> Predicate:
    return lambda answer: any(option in answer for option in _ANSWERS)


def _highlighted_sections(arguments: Arguments) -> Predicate:
    limit = arguments.number("num_highlights", 1, 4)

    def check(answer: str) -> bool:
        single = re.findall(r"\*[^\n\*]*\*", answer)
        double = re.findall(r"\*\*[^\n\*]*\*\*", answer)
        return sum(bool(part.strip("*").strip()) for part in single + double) >= limit

    return check


def _multiple_sections(arguments: Arguments) -> Predicate:
    splitter = arguments.text("section_spliter", "Section", "SECTION").strip()
    limit = arguments.number("num_sections", 1, 5)
    pattern = arguments.pattern(rf"\s?{splitter}\s?\d+\s?")
    return lambda answer: len(pattern.split(answer)) - 1 >= limit


def _json_format(arguments: Arguments) -> Predicate:
    def check(answer: str) -> bool:
        text = answer.strip()
        for fence in _FENCES:
            text = text.removeprefix(fence)
        try:
            json.loads(text.removesuffix("```").strip())
        except (ValueError, RecursionError):  # a thousand brackets are no JSON either
            return False
        return True

    return check


def _title(arguments: Arguments) -> Predicate:
    def check(answer: str) -> bool:
        titles = re.findall(r"<<[^\n]+>>", answer)
        return any(title.lstrip("<").rstrip(">").strip() for title in titles)

    return check


def _two_responses(arguments: Arguments) -> Predicate:
    def check(answer: str) -> bool:
        parts = [part.strip() for part in answer.split("******")]
        if not all(parts[1:-1]):
            return False
        given = [part for part in parts if part]
        return len(given) == 2 and given[0] != given[1]

    return check


def _repeat_prompt(quotes: str) -> Checker:
    def checker(arguments: Arguments) -> Predicate:
        request = arguments.text("prompt_to_repeat").strip().lower()

        def check(answer: str) -> bool:
            text = answer.strip().lower()
            return (text.strip(quotes) if quotes else text).startswith(request)

        return check

    return checker


def _end_checker(arguments: Arguments) -> Predicate:
    ending = arguments.text("end_phrase", *_ENDINGS).strip().lower()
    return lambda answer: answer.strip().strip('"').lower().endswith(ending)


def _capital_word_frequency(arguments: Arguments) -> Predicate:
    limit = arguments.number("capital_frequency", 1, 20, least=-math.inf)
    holds = arguments.relation("capital_relation")
    return lambda answer: holds(sum(token.isupper() for token in split_tokens(answer)), limit)


def _english_capital(arguments: Arguments) -> Predicate:
    return lambda answer: answer.isupper() and detect_language(answer) in ("en", None)


def _english_lowercase(arguments: Arguments) -> Predicate:
    return lambda answer: answer.islower() and detect_language(answer) in ("en", None)


def _capital(arguments: Arguments) -> Predicate:
    return str.isupper


def _lowercase(arguments: Arguments) -> Predicate:
    return str.islower


def _no_comma(arguments: Arguments) -> Predicate:
    return lambda answer: "," not in answer


def _quotation(arguments: Arguments) -> Predicate:
    def check(answer: str) -> bool:
        text = answer.strip()
        return len(text) > 1 and text[0] == text[-1] == '"'

    return check


_OFFICIAL: dict[str, Checker] = {
    "change_case:capital_word_frequency": _capital_word_frequency,
    "change_case:english_capital": _english_capital,
    "change_case:english_lowercase": _english_lowercase,
    "combination:repeat_prompt": _repeat_prompt(""),
    "combination:two_responses": _two_responses,
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:json_format": _json_format,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:number_bullet_lists": _bullet_lists(_STAR_OR_DASH, unescape=False),
    "detectable_format:number_highlighted_sections": _highlighted_sections,
    "detectable_format:title": _title,
    "keywords:existence": _existence,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_words": _number_words,
    "punctuation:no_comma": _no_comma,
    "startend:end_checker": _end_checker,
    "startend:quotation": _quotation,
}

CHECKERS: Mapping[Variant, Mapping[str, Checker]] = {
    "official": _OFFICIAL,
    "speech_ifeval": _OFFICIAL
    | {
        "change_case:english_capital": _capital,
        "change_case:english_lowercase": _lowercase,
        "combination:repeat_prompt": _repeat_prompt("\"'"),
        "detectable_format:number_bullet_lists": _bullet_lists(
            _STAR_OR_DASH + _DOT_OR_DIGIT, unescape=True
        ),
        "length_constraints:number_paragraphs": _number_paragraphs_or_lines,
    },
}
"""By variant and instruction."""
