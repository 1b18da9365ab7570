"""Shards on disk -> examples: token ids and the audio they speak of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta import audio
from desta.data.layout import Layout, Tokens
from desta.errors import DataError, need
from desta.records import AudioTextPair
from desta.shards import shard_paths


@dataclass(frozen=True)
class Example:
    """One audio-text pair, ready to be batched."""

    pair: AudioTextPair
    tokens: Tokens
    windows: list[NDArray[np.float32]]
    """Audio of all windows of all clips, 16 kHz."""


@dataclass(frozen=True)
class Skipped:
    """A pair that cannot be used, and why."""

    id: str
    reason: str


class PairDataset:
    """Random access to the pairs of data set directories, memory-mapped from the disk."""

    def __init__(self, directories: Sequence[Path]) -> None:
        datasets = need("datasets", extra="train", to="read a data set")
        files = [str(f) for directory in directories for f in shard_paths(directory)]
        text = datasets.Value("string")
        clip = {"audio": text, "text": text}
        message = {"role": text, "content": text, "audios": datasets.List(clip)}
        datasets.disable_progress_bars()
        features = datasets.Features(
            id=text,
            dataset=text,
            seed_description=text,
            prompt=text,
            response=text,
            messages=datasets.List(message),
        )
        try:
            self._rows = datasets.load_dataset(
                "json", data_files=files, split="train", features=features
            )
        except datasets.exceptions.DatasetsError as error:
            cause = " ".join(str(error.__cause__ or error).split())
            raise DataError(
                f"the shards of {', '.join(map(str, directories))} cannot be read: {cause}",
                fix="construct the data set again, or keep to the fields of the published schema",
            ) from error

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> AudioTextPair:
        return AudioTextPair.from_json(self._rows[index])


class ExampleReader:
    """Turns pairs into examples: reads audio, cuts it into windows, lays out the tokens."""

    def __init__(
        self,
        layout: Layout,
        *,
        audio_root: Path,
        max_text_tokens: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.layout = layout
        self.audio_root = audio_root
        self._limits: dict[str, Any] = {
            "max_text_tokens": max_text_tokens,
            "max_tokens": max_tokens,
        }

    def length(self, pair: AudioTextPair) -> int:
        """Return about how many tokens a pair has, rather too many than too few.

        Of its audio only the header is read.
        """
        refs = [ref for message in pair.messages for ref in message.audios]
        try:
            num_windows = [
                _most_windows(audio.probe_duration(self.audio_root / ref.audio)) for ref in refs
            ]
        except DataError:
            return 1  # will be skipped, with its reason, when it is read
        try:
            tokens = self.layout.training(pair.messages, pair.response, num_windows, **self._limits)
        except DataError:  # too long, if every window is as short as can be
            return self._limits["max_tokens"] or 1
        return len(tokens.ids)

    def read(self, pair: AudioTextPair) -> Example | Skipped:
        """Read the audio of a pair and lay out its tokens; what is unusable says why."""
        try:
            per_clip = []
            for message in pair.messages:
                for ref in message.audios:
                    samples = audio.load(self.audio_root / ref.audio)
                    per_clip.append(
                        [samples[start:end] for start, end in audio.split_windows(samples)]
                    )
            tokens = self.layout.training(
                pair.messages, pair.response, [len(w) for w in per_clip], **self._limits
            )
        except DataError as error:
            return Skipped(pair.id, getattr(error, "reason", error.message))
        return Example(pair, tokens, [window for windows in per_clip for window in windows])


def _most_windows(seconds: float) -> int:
    """Return how many windows a clip has at most, each cut at its earliest."""
    rest = max(seconds - audio.WINDOW_SECONDS, 0.0)
    return 1 + math.ceil(rest / (audio.WINDOW_SECONDS - audio.SEARCH_SECONDS))
