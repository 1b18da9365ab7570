"""Examples: their length is known before their audio is read."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from desta.audio import SAMPLE_RATE
from desta.data.dataset import Example, ExampleReader, Skipped
from desta.data.layout import Layout
from desta.model.checkpoint import Loaded
from desta.records import AudioRef, AudioTextPair, Message


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


def test_a_missing_clip_has_a_length_and_a_reason(tiny: Loaded, tmp_path: Path) -> None:
    reader = ExampleReader(Layout(tiny.tokenizer, **tiny.layout_options), audio_root=tmp_path)
    assert reader.length(pair("gone.wav")) == 1
    assert reader.read(pair("gone.wav")) == Skipped("1", "does not exist")
