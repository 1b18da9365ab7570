import json
from pathlib import Path

import pytest

from desta.errors import DataError
from desta.evaluation.base import Item, Result, form_messages
from desta.evaluation.benchmarks.transcription import score as transcription
from desta.evaluation.metrics import find
from desta.evaluation.wer import count_word_errors, normalise
from support.results import answer


def item(id: str, target: str, language: str = "unknown") -> Item:
    groups = {"source": "s", "language": language}
    messages = form_messages("", "<|AUDIO|>", ["a.wav"])
    return Item(id=id, messages=messages, question="", target=target, groups=groups)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "language", "errors", "words"),
    [
        ("Mr. Smith paid twenty dollars", "mister smith paid $20", "en", 0, 4),
        ("the colour", "The color!", "English", 0, 2),
        ("red green blue", "red blue black", "en", 2, 3),
        ("one two three", "123", "en", 0, 1),
        ("a b c", "", "de", 3, 3),
        ("Größe", "größe.", "de", 0, 1),
        ("你好吗", "你好", "zh", 1, 3),
        ("[laughs]", "ha ha", "en", 2, 0),
    ],
)
def test_errors_are_counted_after_whispers_normalisation(
    reference: str, hypothesis: str, language: str, errors: int, words: int
) -> None:
    counts = count_word_errors(normalise(reference, language), normalise(hypothesis, language))

    assert (counts.num_errors, counts.num_words) == (errors, words)


def test_the_rate_is_of_all_words_not_of_clips() -> None:
    results = [
        answer(transcription.score, item("1", "one"), "two"),
        answer(transcription.score, item("2", "a b c d e f g h i"), "a b c d e f g h i"),
    ]

    report = transcription.aggregate(results)

    assert report.headline[transcription.WER].value == pytest.approx(0.1)
    cell = find(report.cells, transcription.WER, "source", "s")
    assert cell.estimate == report.headline[transcription.WER]


def test_what_cannot_be_scored_is_counted() -> None:
    results = [
        Result(item=item("1", "one"), output=None, skipped="broken"),
        answer(transcription.score, item("2", "(music)"), "la"),
    ]

    report = transcription.aggregate(results)

    assert report.headline == {}
    assert {n["reason"]: n["example"] for n in report.remarks} == {transcription.NO_WORDS: "2"}
    assert find(report.cells, transcription.WER).num_unscored == 2


def test_the_language_of_the_clip_chooses_the_rules() -> None:
    german = transcription.score(item("1", "das colour", "German"), "das color")

    assert german.values[transcription.WER] == 0.5


def clip(id: str, split: str, text: str | None) -> dict[str, object]:
    segments = [{"start": 0.0, "end": 1.0, "text": text}] if text else []
    return {
        "id": id,
        "source": "s",
        "audio": f"{id}.wav",
        "duration": 1.0,
        "domain": "speech",
        "split": split,
        "segments": segments,
        "attributes": {},
    }


def test_clips_of_the_split_that_are_spoken_in_become_questions(tmp_path: Path) -> None:
    path = tmp_path / "clips.jsonl"
    rows = [clip("1", "test", "hello"), clip("2", "train", "no"), clip("3", "test", None)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    (only,) = transcription.load_items(path, tmp_path)

    assert (only.id, only.target) == ("1", "hello")
    assert only.messages[0].audios[0].audio == str(tmp_path / "1.wav")
    with pytest.raises(DataError, match="no clip of the split 'validation'"):
        transcription.load_items(path, tmp_path, "validation")
