"""Examples: their length is known before their audio is read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from desta.audio import SAMPLE_RATE
from desta.data.dataset import Cut, Example, ExampleReader, PairDataset, SkippedPair
from desta.data.layout import Layout
from desta.data.sampling import BucketSampler
from desta.model.checkpoint import Loaded
from desta.records import AudioRef, AudioTextPair, Message
from desta.training.state import Progress
from desta.training.tally import StepTally, count_remarks


def pair(audio: str) -> AudioTextPair:
    message = Message(role="user", content="<|AUDIO|> What?", audios=(AudioRef(audio=audio),))
    return AudioTextPair(
        id="1",
        dataset="d",
        seed_description="",
        prompt="What?",
        response="Noise.",
        messages=(message,),
    )


@pytest.mark.parametrize(("seconds", "most"), [(0.5, 1), (30.0, 1), (30.1, 2), (55.0, 2), (90, 4)])
def test_a_long_clip_counts_as_the_most_windows_it_can_become(
    tiny: Loaded, tmp_path: Path, seconds: float, most: int
) -> None:
    samples = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE)
    reader = ExampleReader(Layout(tiny.tokenizer, **tiny.layout_options), audio_root=tmp_path)

    example = reader.read(pair("a.wav"))

    assert isinstance(example, Example)
    spare = most - len(example.windows)
    assert spare in (0, 1)
    num_query_tokens = tiny.model.config.connector.num_query_tokens
    assert reader.length(pair("a.wav")) == len(example.tokens.ids) + spare * num_query_tokens


def test_a_flac_file_without_a_count_has_the_tokens_of_its_sound(
    tiny: Loaded, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.flac", np.full(2 * SAMPLE_RATE, 0.1), SAMPLE_RATE)
    counted = (tmp_path / "a.flac").read_bytes()
    uncounted = counted[:21] + bytes([counted[21] & 0xF0]) + bytes(4) + counted[26:]
    (tmp_path / "b.flac").write_bytes(uncounted)
    reader = ExampleReader(Layout(tiny.tokenizer, **tiny.layout_options), audio_root=tmp_path)

    assert reader.length(pair("b.flac")) == reader.length(pair("a.flac"))
    assert isinstance(reader.read(pair("b.flac")), Example)


def test_what_is_odd_about_a_recording_is_counted(tiny: Loaded, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, SAMPLE_RATE)
    soundfile.write(tmp_path / "a.wav", np.stack([noise, -noise], axis=1), SAMPLE_RATE)
    reader = ExampleReader(Layout(tiny.tokenizer, **tiny.layout_options), audio_root=tmp_path)

    example = reader.read(pair("a.wav"))

    assert isinstance(example, Example)
    assert example.cut == [Cut("1", "a recording has channels that cancel each other")]


@pytest.fixture
def reader(tiny: Loaded, published_tiny: Path) -> ExampleReader:
    layout = Layout(tiny.tokenizer, **tiny.layout_options)
    return ExampleReader(layout, audio_root=published_tiny, max_tokens=60)


def test_a_missing_clip_has_the_length_of_one_that_is_there_and_a_reason(
    reader: ExampleReader,
) -> None:
    assert reader.length(pair("gone.wav")) == reader.length(pair("a.wav")) > 1
    assert reader.read(pair("gone.wav")) == SkippedPair("1", "does not exist")


def test_many_missing_recordings_do_not_meet_in_one_batch(reader: ExampleReader) -> None:
    pairs = [pair("a.wav" if number % 5 else "gone.wav") for number in range(1024)]
    sampler = BucketSampler(1024, lambda row: reader.length(pairs[row]), token_budget=4096)
    progress = Progress()
    for rows in sampler.first_epoch():
        gone = [SkippedPair(str(row), "does not exist") for row in rows if not row % 5]
        tally = StepTally(num_pairs=len(rows) - len(gone), skipped=count_remarks(gone))
        progress.count(tally, num_rows=1024, max_share=0.3)  # raises after a hundred on end
    assert progress.skipped["does not exist"].count == 205


def test_reasons_are_the_same_for_all_pairs_they_befall(reader: ExampleReader) -> None:
    def talk(content: str) -> AudioTextPair:
        clip = AudioRef(audio="a.wav")
        return replace(
            pair("a.wav"), messages=(Message(role="user", content=content, audios=(clip,)),)
        )

    too_long = {reader.read(talk(f"<|AUDIO|> {'many words ' * n}")) for n in (50, 60)}
    assert too_long == {SkippedPair("1", "leaves no room for a response within data.max_tokens")}
    misplaced = {reader.read(talk("<|AUDIO|>" * n)) for n in (0, 2, 3)}
    assert misplaced == {SkippedPair("1", "has more or fewer locators than clips")}


MESSAGE = {"role": "user", "content": "<|AUDIO|>", "audios": [{"audio": "a.wav", "text": "hi"}]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"response": None}, "has no response"),
        ({"response": " \n"}, "has no response"),
        ({"messages": None}, "has no messages"),
        ({"messages": []}, "has no messages"),
        ({"messages": [None]}, "has no messages"),
        ({"messages": [MESSAGE | {"content": None}]}, "has a message without role or content"),
        ({"messages": [MESSAGE | {"role": None}]}, "has a message without role or content"),
        ({"messages": [MESSAGE | {"audios": [{"audio": None}]}]}, "has a clip without a path"),
        ({"messages": [MESSAGE | {"audios": [{"audio": ""}]}]}, "has a clip without a path"),
        ({"messages": [MESSAGE | {"audios": [None]}]}, "has a clip without a path"),
    ],
)
def test_a_row_that_lacks_something_is_skipped_with_its_reason(
    reader: ExampleReader,
    tmp_path: Path,
    change: dict[str, Any],
    reason: str,
) -> None:
    whole = {"id": "7", "response": "Noise.", "messages": [MESSAGE]}
    lacking = {name: value for name, value in (whole | change).items() if value is not None}
    lines = [json.dumps(row) for row in (whole, whole | change, lacking)]
    (tmp_path / "audio.0.jsonl").write_text("\n".join(lines))
    rows = PairDataset([tmp_path])

    assert isinstance(reader.read(rows[0]), Example), "other fields are not learnt from"
    for row in (rows[1], rows[2]):
        assert reader.read(row) == SkippedPair("7", reason)
        assert reader.length(row) == 60


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"\ud800": 1}, "the field"),
        ({"messages": [MESSAGE | {"\ud800": 1}]}, "a message with the field"),
        ({"messages": [MESSAGE | {"audios": [{"audio": "a.wav", "\ud800": 1}]}]}, "a clip with"),
    ],
)
def test_half_a_character_in_a_name_costs_its_row_alone(
    tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    whole = {"id": "7", "response": "Noise.", "messages": [MESSAGE]}
    lines = [json.dumps(row) for row in (whole, whole | change)]
    (tmp_path / "audio.0.jsonl").write_text("\n".join(lines))
    first, second = PairDataset([tmp_path])
    assert not isinstance(first, SkippedPair)
    assert isinstance(second, SkippedPair)
    assert second.reason.startswith(f"has {what}")
    assert r'"\ud800", which is not in the schema' in second.reason


def test_a_row_without_an_id_is_named_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "audio.0.jsonl").write_text(json.dumps({"id": None, "messages": [MESSAGE]}))
    assert PairDataset([tmp_path])[0] == SkippedPair("row 0", "has no response")


def test_rows_are_grouped_by_clip_and_what_stands_before_it(tmp_path: Path) -> None:
    def row(clip: str | None, *, system: str = "Listen.", text: str | None = "hi") -> dict:
        heard = [{"audio": clip, "text": text}]
        question = {"role": "user", "content": "<|AUDIO|> What?", "audios": heard}
        if clip is None:
            question = {"role": "user", "content": "What?", "audios": []}
        messages = [{"role": "system", "content": system}, question]
        return {"id": "1", "response": "Noise.", "messages": messages}

    rows = [
        row("a.wav"),
        row("b.wav"),
        row("a.wav", text=" "),
        row("a.wav", system="Be short."),
        row("b.wav"),
        row(None),
        row(None),
        {"id": "2", "response": "No messages."},
        {"id": "3", "response": "No message.", "messages": [None]},
    ]
    (tmp_path / "audio-00000.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))

    numbers = PairDataset([tmp_path]).clip_numbers("<|AUDIO|>").tolist()

    assert numbers == [0, 1, 0, 2, 1, 3, 4, 5, 6]
