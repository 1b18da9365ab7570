"""Error rates of scripts that Whisper's rules were not made for."""

import json
import logging

import pytest

from desta.evaluation.base import Item, Result, Score, form_messages
from desta.evaluation.benchmarks.transcription import score as transcription
from desta.evaluation.benchmarks.transcription.score import CER, MISLEADS, SCRIPT_WER, WER
from desta.evaluation.benchmarks.transcription.scripts import (
    has_marks,
    normalise_marked,
    rules_of,
    split_characters,
)
from desta.evaluation.compare import Contender, compare
from desta.evaluation.wer import normalise
from support.results import answer


def answered(reference: str, output: str, language: str = "unknown") -> Result:
    item = Item(
        id=reference,
        messages=form_messages("", "<|AUDIO|>", ["a.wav"]),
        question="",
        target=reference,
        groups={"language": language},
    )
    return answer(transcription.score, item, output)


def score(reference: str, output: str, language: str = "unknown") -> Score:
    return answered(reference, output, language).score


def errors(scored: Score, metric: str) -> tuple[float, float]:
    value = scored.values[metric]
    assert value is not None
    weight = scored.weight_of(metric)
    return round(value * weight), weight


@pytest.mark.parametrize(
    ("reference", "output", "language", "num_errors", "num_words"),
    [
        ("मैं घर जाता हूँ और वह खाना खाती", "में घार जाती हूं और वह खाना खाती", "hi", 4, 8),
        ("मैं घर जाता हूँ।", "मैं घर जाता हूँ", "Hindi", 0, 4),
        ("किताब", "कताब", "unknown", 1, 1),
        ("ఇది", "ఇద", "te", 1, 1),
        ("தமிழ்", "தமிழ", "ta", 1, 1),
        ("বাংলা ১২", "বাংলা 12", "bn", 0, 2),
        ("\u0958\u0932\u092e", "\u0915\u093c\u0932\u092e", "hi", 0, 1),  # a letter and its parts
        ("നമസ്\u200cകാരം അവൻ", "നമസ്കാരം അവന്\u200d", "ml", 0, 2),  # ZWNJ; a chillu in two ways
        ("السَّلَامُ عَلَيْكُمْ", "السلام عليكم", "ar", 0, 2),
        ("هٰذَا محـــمد ٱلكتاب", "هذا محمد الكتاب", "Arabic", 0, 3),
        ("سأل", "سال", "ar", 1, 1),  # a hamza is spelling, not pointing
        ("می\u200cروم ۱۲", "میروم 12", "fa", 0, 2),
        ("שָׁלוֹם עוֹלָם", "שלום עולם", "he", 0, 2),
        ('צה״ל בית־ספר', 'צה"ל בית ספר', "Hebrew", 0, 4),
        ("İSTANBUL IŞIK", "istanbul ışık", "tr", 0, 2),
        ("п'ять", "п’ять", "uk", 0, 2),
        ("oʻzbek", "o'zbek", "uz", 0, 2),
        ("ελλάς", "ΕΛΛΆΣ", "el", 0, 1),
        ("Größe don´t", "GRÖSSE don't", "de", 0, 3),
        ("ẹ́ kú", "ẹ kú", "yo", 1, 2),
        ("ބަސް", "ބސ", "dv", 1, 1),
        ("한국어 좋아", "한국어 조아", "ko", 1, 2),
    ],
)  # fmt: skip
def test_words_of_every_script_are_told_apart_by_what_is_spoken(
    reference: str, output: str, language: str, num_errors: int, num_words: int
) -> None:
    assert errors(score(reference, output, language), SCRIPT_WER) == (num_errors, num_words)


@pytest.mark.parametrize(
    ("reference", "output", "language", "num_errors", "num_characters"),
    [
        ("你好，世界", "你好世", "zh", 1, 4),
        ("你好，世界", "你好世界", "unknown", 0, 4),
        ("我用iPhone打电话", "我用 iphone 打电话", "zh-CN", 0, 11),
        ("こんにちは。", "こんばんは", "Japanese", 2, 5),
        ("ｶﾞ", "ガ", "ja", 0, 1),
        ("สวัสดี", "สวัสดิ", "th", 1, 6),
        ("ສະບາຍດີ", "ສະບາຍດີ", "lo", 0, 7),
        ("មើល\u200bស្រី", "មើល ស្រី", "Khmer", 0, 7),
        ("မင်္ဂလာပါ", "မင်ဂလာပါ", "my", 1, 9),
    ],
)
def test_languages_without_spaces_are_counted_by_characters(
    reference: str, output: str, language: str, num_errors: int, num_characters: int
) -> None:
    scored = score(reference, output, language)
    assert SCRIPT_WER not in scored.values
    assert errors(scored, CER) == (num_errors, num_characters)


@pytest.mark.parametrize(
    ("text", "language", "rules"),
    [
        ("hello", None, "English"),
        ("hello", "en-US", "English"),
        ("1984", None, "English"),
        ("hallo", "de", "words"),
        ("привет", None, "words"),
        ("नमस्ते", "English", "words"),
        ("he said 你好", None, "English"),
        ("你好", "English", "characters"),
        ("OK", "ja_JP", "characters"),
        ("สวัสดี", None, "characters"),
        ("", None, "English"),
    ],
)
def test_rules_are_told_by_language_and_script(text: str, language: str | None, rules: str) -> None:
    assert rules_of(text, language) == rules


@pytest.mark.parametrize(
    ("reference", "language", "misleads"),
    [
        ("नमस्ते", "hi", True),
        ("สวัสดี", "th", True),
        ("កម្ពុជា", "km", True),
        ("السَّلَامُ", "ar", True),
        ("محـمد", "ar", True),
        ("привет", "unknown", True),  # English rules make one letter of й and и
        ("السلام", "ar", False),
        ("你好", "zh", False),
        ("你好", "unknown", True),  # one word to the English rules
        ("Größe 😀️", "de", False),
        ("café naïve", "unknown", False),
    ],
)
def test_the_official_figure_is_said_to_mislead_where_it_does(
    reference: str, language: str, misleads: bool
) -> None:
    assert score(reference, reference, language).note == (MISLEADS if misleads else None)
    pointed = score("السلام", "السَّلَامُ", "ar")
    assert pointed.note == MISLEADS
    assert pointed.values[WER] != 0


def test_english_is_scored_by_the_official_rules_alone() -> None:
    result = answered("Mr. Smith paid twenty dollars", "mister smith paid $20", "en-GB")
    scored = result.score
    assert (scored.values, scored.note, scored.weights) == ({WER: 0.0}, None, {})
    report = transcription.aggregate([result])
    assert list(report.headline) == [WER]


def test_a_corpus_of_several_languages_has_all_rates_and_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    results = [
        answered("a cat", "a hat", "en"),
        answered("मैं घर जाता", "में घर जाता", "hi"),
        answered("你好", "你", "zh"),
        answered("สวัสดี", "สวัสดิ", "th"),
    ]
    with caplog.at_level(logging.WARNING):
        report = transcription.aggregate(results)

    assert report.headline[SCRIPT_WER].value == pytest.approx(2 / 5)  # English words among them
    assert report.headline[CER].value == pytest.approx(2 / 8)
    assert [(n["reason"], n["count"]) for n in report.remarks] == [(MISLEADS, 2)]
    assert [r.message for r in caplog.records] == [f"2 of 4 texts: {MISLEADS}"]


def test_a_result_keeps_what_it_counts_in_each_rate() -> None:
    thai, english = answered("สวัสดี", "สวัสดิ"), answered("hello there", "hello")
    assert Result.from_json(json.loads(json.dumps(thai.to_json()))).score.weight_of(CER) == 6
    assert "weights" not in english.to_json()  # as lines were before there were any
    contender = Contender(name="a", benchmark="transcription", version="1", results=[thai, english])
    rates = {d.metric: d.first for d in compare(contender, contender).differences}
    assert rates[CER] == pytest.approx(1 / 6)


def test_points_and_shapes_are_no_marks_of_their_own() -> None:
    assert not has_marks("don´t ☺️ é e\u0301")
    assert has_marks("नि")
    assert normalise_marked(" ́a  b ") == "a b"
    assert split_characters("ab c") == "a b c"


def test_the_official_rules_are_whispers_own() -> None:
    whisper = pytest.importorskip("whisper_normalizer.basic")
    for language, split in (
        ("hi", False),
        ("ar", False),
        ("de", False),
        ("zh", True),
        ("th", True),
    ):
        official = whisper.BasicTextNormalizer(split_letters=split)
        for text in ("मैं घर (हाँ)", "السَّلَامُ", "Größe, [x] Œuvre", "你好吗", "สวัสดี"):
            assert normalise(text, language) == official(text).strip()
