"""Data sets of audio-text pairs, and the examples read from them: token ids and audio."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta import audio
from desta.data.layout import Layout, Tokens, check_locators
from desta.data.trees import joint_length
from desta.errors import DataError, need
from desta.isolation import error_of, printable
from desta.paths import check_local
from desta.records import TEXTS, AudioTextPair, find_departure, find_flaw, read_lines
from desta.shards import pair_features, shard_paths

log = logging.getLogger(__name__)

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Change of the samples of a clip, (T,), before it is split into windows."""
_ROWS_AT_ONCE = 1024
_RULES = 1  # version of the row checks, part of the cache key of rows read one by one


@dataclass(frozen=True)
class Remark:
    """Remark on a pair, counted by its reason."""

    id: str
    reason: str
    """Fixed text by which remarks are counted."""


class SkippedPair(Remark):
    """A pair that cannot be used, with the reason."""


class Cut(Remark):
    """A pair that is used in part, or whose recording is odd, with the reason."""


@dataclass(frozen=True)
class Example:
    """One audio-text pair, ready to be batched."""

    pair: AudioTextPair
    tokens: Tokens
    windows: list[NDArray[np.float32]]
    """Audio of all windows of all clips, each (T,), 16 kHz."""
    notes: tuple[audio.AudioNote, ...] = ()
    """Notes about its recordings."""

    @property
    def cut(self) -> list[Cut]:
        """Parts of the pair that are left out, and notes about its recordings."""
        lost = {
            "transcription beyond data.max_text_tokens": self.tokens.num_cut_text,
            "response beyond data.max_tokens": self.tokens.num_cut_response,
        }
        reasons = [reason for reason, count in lost.items() if count]
        reasons += [f"a recording {note.reason}" for note in self.notes]
        return [Cut(self.pair.id, reason) for reason in reasons]


class PairDataset:
    """Random access to the pairs of data set directories, memory-mapped."""

    def __init__(self, directories: Sequence[Path]) -> None:
        datasets = need("datasets", extra="train", to="read a data set")
        files = [str(f) for directory in directories for f in shard_paths(directory)]
        datasets.disable_progress_bars()
        datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # reported below
        features = datasets.Features(pair_features(datasets))
        try:
            self._rows = datasets.load_dataset(
                "json",
                data_files=files,
                split="train",
                features=features,
                on_mixed_types=None,  # else one number among texts puts all texts in quotes
            )
        except datasets.exceptions.DatasetsError:  # possibly caused by a single line
            log.warning("a line of the shards is faulty: lines are read one by one")
            self._rows = datasets.Dataset.from_generator(
                _read_rows,
                features=datasets.Features(**features, flaw=features["id"]),
                gen_kwargs={"files": [_stamp(file) for file in files], "rules": _RULES},
                split="train",
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> AudioTextPair | SkippedPair:
        record = self._rows[index]  # a field missing in a shard is None
        texts = {name: record[name] or "" for name in TEXTS}
        texts["id"] = texts["id"] or f"row {index}"
        reason = record.get("flaw") or find_flaw(record)
        if reason is not None:
            return SkippedPair(texts["id"], reason)
        return AudioTextPair.from_json(record | texts)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield the seed description and the response of every row; rows are not checked."""
        columns = self._rows.select_columns(["seed_description", "response"])
        for batch in columns.iter(batch_size=_ROWS_AT_ONCE):
            for description, response in zip(
                batch["seed_description"], batch["response"], strict=True
            ):
                yield description or "", response or ""

    def clip_numbers(self, locator: str) -> NDArray[np.int64]:
        """Return the number of the clip of every row, (N,); rows are not checked.

        Rows have the same number if they are about the same clips and begin alike up to the first.

        Args:
            locator: text that marks a clip.
        """
        known: dict[bytes | int, int] = {}
        numbers = np.empty(len(self), dtype=np.int64)
        batches = self._rows.select_columns("messages").iter(batch_size=_ROWS_AT_ONCE)
        for row, messages in enumerate(chain.from_iterable(b["messages"] for b in batches)):
            key = _beginning(messages or (), locator)
            numbers[row] = known.setdefault(row if key is None else key, len(known))
        return numbers


class ExampleReader:
    """Reader of examples: reads audio, splits it into windows and lays out the tokens."""

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
        self._heard: dict[str, audio.Sound] | None = None  # recordings of the pairs in `read_all`

    def length(self, *pairs: AudioTextPair | SkippedPair) -> int:
        """Return an estimate of the tokens of a pair, rather too high than too low.

        No audio is decoded. A pair with a broken recording keeps its normal length: a special one
        would sort such pairs into the same batch.

        Args:
            pairs: one; or several about the same clip, whose length is that of their tree.
        """
        limits = self._limits if len(pairs) == 1 else self._limits | {"max_tokens": None}
        drafts = [draft for pair in pairs if (draft := self._draft(pair, limits))]
        return joint_length(drafts) if drafts else self._limits["max_tokens"] or 1

    def _draft(self, pair: AudioTextPair | SkippedPair, limits: Mapping[str, Any]) -> Tokens | None:
        """Lay out a pair with as many windows as its clips can have; None if that is impossible."""
        if isinstance(pair, SkippedPair):
            return None
        refs = [ref for message in pair.messages for ref in message.audios]
        try:
            num_windows = [_most_windows(self.audio_root / ref.audio) for ref in refs]
            return self.layout.training(pair.messages, pair.response, num_windows, **limits)
        except Exception:  # too long with shortest windows, or unusable
            return None

    def read(
        self, pair: AudioTextPair | SkippedPair, *, change: Change | None = None
    ) -> Example | SkippedPair:
        """Read the audio of a pair and lay out its tokens; return the reason if it is unusable.

        Args:
            pair: the pair.
            change: applied to each of its clips.
        """
        if isinstance(pair, SkippedPair):
            return pair
        try:
            return self._read(pair, change)
        except Exception as error:
            return SkippedPair(pair.id, error_of(error, pair.id).reason)

    def read_all(
        self, pairs: Sequence[AudioTextPair | SkippedPair], *, change: Change | None = None
    ) -> list[Example | SkippedPair]:
        """Read several pairs; a recording that more than one asks about is decoded once."""
        self._heard = {}
        try:
            return [self.read(pair, change=change) for pair in pairs]
        finally:
            self._heard = None

    def _read(self, pair: AudioTextPair, change: Change | None) -> Example | SkippedPair:
        try:
            check_locators(pair.messages, self.layout.locator)
        except DataError:
            return SkippedPair(pair.id, "has more or fewer locators than clips")
        refs = [ref for message in pair.messages for ref in message.audios]
        for ref in refs:
            check_local(ref.audio)
        sounds = [self._hear(ref.audio, change) for ref in refs]
        clips = [sound.samples for sound in sounds]
        per_clip = [[clip[start:end] for start, end in audio.split_windows(clip)] for clip in clips]
        num_windows = [len(windows) for windows in per_clip]
        try:
            tokens = self.layout.training(pair.messages, pair.response, num_windows, **self._limits)
        except DataError:
            return SkippedPair(pair.id, self._refusal(pair, num_windows))
        notes = tuple(note for sound in sounds for note in sound.notes)
        return Example(pair, tokens, [window for windows in per_clip for window in windows], notes)

    def _hear(self, name: str, change: Change | None) -> audio.Sound:
        """Decode and change a recording, or take it from the pair before."""
        if self._heard is None or name not in self._heard:
            sound = audio.read_audio(self.audio_root / name)
            if change:
                sound = replace(sound, samples=change(sound.samples))
            if self._heard is None:
                return sound
            self._heard[name] = sound
        return self._heard[name]

    def _refusal(self, pair: AudioTextPair, num_windows: list[int]) -> str:
        """Return the reason why a pair was not laid out, without its numbers."""
        try:
            self.layout.context(pair.messages, num_windows)
        except DataError as error:
            return error.message  # of the chat template
        return "leaves no room for a response within data.max_tokens"


def _stamp(file: str) -> tuple[str, int, int]:
    """Return name, size and time of a file, which key the cache of `datasets`."""
    status = Path(file).stat()
    return str(Path(file).resolve()), status.st_size, status.st_mtime_ns


def _read_rows(files: list[tuple[str, int, int]], rules: int) -> Iterator[dict[str, Any]]:
    """Yield every line of shards as a row; an unusable one holds only its `flaw`."""
    for file, _, _ in files:
        for _, record in read_lines(Path(file)):
            row: dict[str, Any] = dict.fromkeys((*TEXTS, "messages", "flaw"))
            if isinstance(record, DataError):
                row["flaw"] = record.reason
            elif (flaw := find_departure(record)) is not None:
                row["flaw"] = flaw
                id = record.get("id")
                row["id"] = printable(id) if isinstance(id, str) else None
            else:
                row |= record
                row["messages"] = record.get("messages") and [
                    message and {"role": None, "content": None, "audios": None, **message}
                    for message in record["messages"]
                ]
            yield row


def _beginning(messages: Sequence[Mapping[str, Any] | None], locator: str) -> bytes | None:
    """Return a hash of a row's clips and of what stands before the first; None if it has none."""
    told = [message for message in messages if message]
    names = [clip and clip["audio"] for message in told for clip in message["audios"] or ()]
    before = []
    for message in told:
        text, found, _ = (message["content"] or "").partition(locator)
        before.append((message["role"], text))
        if found:
            return blake2b(repr((names, before)).encode(), digest_size=16).digest()
    return None


def _most_windows(path: Path) -> int:
    """Return the maximal number of windows of a clip, with the shortest possible windows."""
    try:
        seconds = audio.probe_duration(path)
    except audio.AudioError:
        return 1  # skipped with its reason when it is read
    rest = max(seconds - audio.WINDOW_SECONDS, 0.0)
    return 1 + math.ceil(rest / (audio.WINDOW_SECONDS - audio.SEARCH_SECONDS))
