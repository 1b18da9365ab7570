"""A finished data set: its rows judged, counted and sampled."""

from pathlib import Path

import pytest

from desta.construction.prompts import load_pool
from desta.construction.row_checks import find_oddities, find_row_fault
from desta.data.dataset import PairDataset, SkippedPair
from desta.publishing.survey import MISSING, OUTSIDE, survey_data_set
from desta.records import AudioTextPair, Message
from support.publishing import asked, heard, published, row
from support.recordings import tone

NO_CLIP = {"role": "user", "content": "What?", "audios": []}
# Rows that the schema allows and training leaves out.
FLAWED = {
    "messages empty": row(messages=[]),
    "messages null": row(messages=None),
    "a message null": row(messages=[None, row()["messages"][1]]),
    "no content": asked(content=None),
    "path null": heard({"audio": None, "text": " "}),
    "clip empty": heard({}),
    "response null": row(response=None),
    "response blank": row(response=" \n"),
}
# Rows that keep the whole data set from being read.
FOREIGN = {
    "further field": row(split="train"),
    "further field of a message": asked(name="x"),
    "further field of a clip": heard({"audio": "a.wav", "text": " ", "seconds": 2.0}),
    "number for text": row(id=5),
    "response a number": row(response=1.5),
    "messages text": row(messages="What?"),
    "clip a path": heard("a.wav"),
    "transcription a number": heard({"audio": "a.wav", "text": 3}),
}
UNUSUAL = {
    "has no id": row(id=""),
    "has no dataset": row(dataset=None),
    "has no clip": row(messages=[NO_CLIP]),
    "has a clip without a transcription (one space says that nothing is spoken)": heard(
        {"audio": "a.wav", "text": None}
    ),
    "has a prompt that its last question does not hold": row(prompt="Who?"),
    "ends with an answer, which its response would follow": row(
        messages=[*row()["messages"], {"role": "assistant", "content": "Yes."}]
    ),
    "has a locator without <start_audio> and <end_audio>, which stand there in use": asked(
        content="<|AUDIO|> What?"
    ),
    "has <start_audio> or <end_audio> away from its locator": asked(
        content="<start_audio> <|AUDIO|> <end_audio> What?"
    ),
}


def test_a_row_as_published_has_neither_fault_nor_oddity() -> None:
    assert find_row_fault(row()) is None
    assert list(find_oddities(row())) == []


@pytest.mark.parametrize("name", FLAWED)
def test_rows_that_training_leaves_out_are_told_as_training_tells_them(
    tmp_path: Path, name: str
) -> None:
    read = PairDataset([published(tmp_path / "d", [row(), FLAWED[name]])])

    skipped = read[1]

    assert isinstance(read[0], AudioTextPair)
    assert isinstance(skipped, SkippedPair)
    assert find_row_fault(FLAWED[name]) == skipped.reason


@pytest.mark.parametrize("name", FOREIGN)
def test_rows_outside_the_schema_are_found_and_left_out_alone_by_training(
    tmp_path: Path, name: str
) -> None:
    whole = PairDataset([published(tmp_path / "whole", [row()])])[0]
    read = PairDataset([published(tmp_path / "d", [row(), FOREIGN[name], row()])])
    skipped = read[1]
    assert isinstance(skipped, SkippedPair)
    assert find_row_fault(FOREIGN[name]) == skipped.reason
    assert [read[0], read[2]] == [whole, whole]  # not: all texts in quotation marks


@pytest.mark.parametrize("oddity", UNUSUAL)
def test_unusual_rows_are_of_use(tmp_path: Path, oddity: str) -> None:
    assert find_row_fault(UNUSUAL[oddity]) is None
    assert oddity in list(find_oddities(UNUSUAL[oddity]))
    read = PairDataset([published(tmp_path / "d", [UNUSUAL[oddity]])])
    assert isinstance(read[0], AudioTextPair)


def test_a_survey_counts_every_row_once(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 2)
    french = "[00:00-00:03] Oui (First Language: Thai, Language: French)"
    directory = published(
        tmp_path / "d",
        [row(), row(id="x", messages=[]), row(prompt="", response="One two three.")],
        [row(), heard({"audio": "gone.wav", "text": " "}) | {"seed_description": french}],
        [heard({"audio": "../b.wav", "text": " "}) | {"dataset": "ESC50"}],
    )

    found = survey_data_set(directory, root=tmp_path)

    facts = found.to_json()
    assert (facts["rows"], facts["useful"], facts["shards"]) == (6, 5, 3)
    assert facts["counts"] == {"ESC50": {"other": 1}, "IEMOCAP": {"other": 4}}
    assert facts["useless"] == [{"reason": "has no messages", "count": 1, "example": "x"}]
    odd = {entry["reason"]: entry["count"] for entry in facts["odd"]}
    assert odd == {
        "has no prompt": 1,
        MISSING: 1,
        OUTSIDE: 1,
        "asks what another row asks of the same clip": 2,
    }
    assert facts["clips"] == 3
    assert facts["hours"] == round((2 + 3 + 2) / 3600, 3)
    assert facts["languages"] == {"French": 1}
    assert facts["words"]["response"] == {"least": 3, "median": 5, "p95": 5, "most": 5}
    assert facts["verified"] is False


@pytest.mark.parametrize(
    ("second", "seconds", "languages"),
    [
        ("\n[00:00-00:03] Si (Language: Spanish)", 5, {"French": 1, "Spanish": 1}),
        ("\n[00:00-00:03] Non (Language: French)", 5, {"French": 1}),
        ("", 0, {"French": 1}),  # of which of the two is not told
    ],
)
def test_several_clips_have_the_lengths_and_languages_of_their_lines(
    tmp_path: Path, second: str, seconds: float, languages: dict[str, int]
) -> None:
    [question] = asked()["messages"][-1:]
    both = question | {"content": "<|AUDIO|><|AUDIO|> What?"}
    both["audios"] = [{"audio": f"{name}.wav", "text": "Oui"} for name in "ab"]
    description = f"[00:00-00:02] Oui (Language: French){second}"
    pair = row(messages=[both], seed_description=description)

    found = survey_data_set(published(tmp_path / "d", [pair]))

    assert found.hours == pytest.approx(seconds / 3600)
    assert found.languages == languages


def test_kinds_are_those_of_the_pools(tmp_path: Path) -> None:
    (tmp_path / "pools").mkdir()
    for domain in ("speech", "sound", "music"):
        (tmp_path / "pools" / f"{domain}.txt").write_text(f"[describe]\nWhat {domain}?\n")
    (tmp_path / "pools" / "speech.txt").write_text("[ask Emotion]\nWhat?\n")
    found = survey_data_set(
        published(tmp_path / "d", [row(), row(prompt="?")]), prompts=tmp_path / "pools"
    )
    assert found.counts == {"IEMOCAP": {"ask": 1, "other": 1}}
    (tmp_path / "pools" / "multi.txt").write_text("[compare]\n?\n")
    found = survey_data_set(tmp_path / "d", prompts=tmp_path / "pools")
    assert found.counts == {"IEMOCAP": {"ask": 1, "compare": 1}}


def test_prompts_about_several_clips_are_of_their_own_kinds(tmp_path: Path) -> None:
    [prompt, *_] = load_pool("multi")
    found = survey_data_set(published(tmp_path / "d", [row(prompt=prompt.text)]))
    assert found.counts == {"IEMOCAP": {prompt.kind: 1}}


def test_samples_come_from_every_source_and_kind_and_do_not_depend_on_order(tmp_path: Path) -> None:
    rows = [row(id=str(n), dataset="A") for n in range(50)] + [row(id="rare", dataset="B")]
    first = survey_data_set(published(tmp_path / "d", rows), num_samples=4)
    second = survey_data_set(published(tmp_path / "e", rows[::-1]), num_samples=4)
    assert len(first.samples) == 4
    assert "rare" in [sample["id"] for _, _, sample in first.samples]
    assert first.samples == second.samples


def test_a_message_of_a_pair_and_of_a_row_are_the_same(tmp_path: Path) -> None:
    pair = AudioTextPair.from_json(row())
    assert pair.messages[0] == Message(role="system", content="Focus on <start_audio>.")
    assert find_row_fault(pair.to_json()) is None
