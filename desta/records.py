"""Records of a data set: clips and audio-text pairs, and their JSON lines."""

import codecs
import gzip
import json
import math
import reprlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from desta.errors import DataError
from desta.isolation import HALF, holds_half, printable
from desta.paths import check_local

Domain = Literal["speech", "sound", "music"]
Split = Literal["train", "validation", "test"]
DOMAINS: tuple[Domain, ...] = ("speech", "sound", "music")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

CORPUS = "corpus"
MEASURED = "measured"
MODEL_ORIGIN = "model:"
"""Origins of the value of an attribute; `model:` is followed by the id of the model."""

LOCATOR = "<|AUDIO|>"
"""Marks the position of a clip in the text of a message."""
START_AUDIO = "<start_audio>"
END_AUDIO = "<end_audio>"
"""Literal text around every clip; ordinary tokens for the backbone."""
TEXTS = ("id", "dataset", "seed_description", "prompt", "response")
"""Fields of an audio-text pair that are text."""
_CLIP = frozenset({"audio", "text"})
_MESSAGE = frozenset({"role", "content", "audios"})
_ROW = frozenset({*TEXTS, "messages"})

NO_TRANSCRIPTION = " "
"""Transcription of a clip without speech: one token after the audio tokens."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Part of a clip in which one speaker speaks."""

    start: float
    """Seconds from the start of the clip."""
    end: float
    speaker: str | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Metadata of one recording; a line of `clips.jsonl`."""

    id: str
    source: str
    audio: str
    """Path relative to the root of the source."""
    duration: float
    """Seconds."""
    domain: Domain
    segments: tuple[Segment, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Attribute -> value, in the order of the seed description."""
    split: Split = "train"
    origins: Mapping[str, str] = field(default_factory=dict)
    """Attribute -> `measured` or `model:<id>`; attributes not listed are the corpus's."""

    @property
    def transcription(self) -> str:
        """All words of the clip, or one space where nothing is spoken."""
        words = " ".join(s.text.strip() for s in self.segments if s.text and s.text.strip())
        return words or NO_TRANSCRIPTION

    def origin(self, attribute: str) -> str:
        """Return the origin of an attribute: `corpus`, `measured` or `model:<id>`.

        Raises:
            KeyError: the clip has no such attribute.
        """
        if attribute not in self.attributes:
            raise KeyError(attribute)
        return self.origins.get(attribute, CORPUS)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; unset fields of segments and empty origins are left out."""
        record = asdict(self)
        record["segments"] = [
            {k: v for k, v in asdict(s).items() if v is not None} for s in self.segments
        ]
        record["attributes"] = dict(self.attributes)
        if self.origins:
            record["origins"] = dict(self.origins)
        else:
            del record["origins"]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Clip":
        """Build a clip from a JSON object.

        Raises:
            KeyError, TypeError: a field is missing, unknown or of another type.
        """
        for name in ("attributes", "origins"):
            if not _is_texts(record.get(name, {})):
                raise TypeError(f"{name} must be an object of texts")
        values = dict(record)
        values["segments"] = tuple(Segment(**s) for s in values.get("segments", ()))
        clip = cls(**values)
        if not all(isinstance(text, str) for text in (clip.id, clip.source, clip.audio)):
            raise TypeError("id, source and audio must be text")
        if not _is_time(clip.duration) or clip.duration < 0:
            raise TypeError(f"duration {clip.duration!r} is not a number of seconds")
        for segment in clip.segments:
            if not (_is_time(segment.start) and _is_time(segment.end)):
                raise TypeError("the start or end of a segment is not a number of seconds")
            if not all(isinstance(text, str | None) for text in (segment.speaker, segment.text)):
                raise TypeError("the speaker and the text of a segment must be text")
        if clip.domain not in DOMAINS or clip.split not in SPLITS:
            raise TypeError(f"domain {clip.domain!r} or split {clip.split!r} is unknown")
        if stray := sorted(clip.origins.keys() - clip.attributes.keys()):
            raise TypeError(f"the origin of {stray[0]!r} is given without its value")
        return clip


def _is_texts(value: Any) -> bool:
    """Return whether a value is an object whose values are text."""
    return isinstance(value, Mapping) and all(isinstance(text, str) for text in value.values())


def _is_time(value: Any) -> bool:
    """Return whether a value is a finite number; Python's JSON also reads NaN and infinity."""
    return isinstance(value, int | float) and math.isfinite(value)


@dataclass(frozen=True, kw_only=True)
class AudioRef:
    """A clip inside a message: its audio and its transcription."""

    audio: Any
    """Path; at inference also the bytes of a file, or samples and their rate in Hz."""
    text: str | None = None
    """The transcription; None if it is not known yet (the engine will transcribe)."""

    def __repr__(self) -> str:
        """Return a short form: the bytes of a recording would fill the screen."""
        clip = repr(self.audio) if isinstance(self.audio, str) else reprlib.repr(self.audio)
        return f"AudioRef(audio={clip}, text={self.text!r})"


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation; `content` holds one locator per clip of `audios`."""

    role: str
    content: str
    audios: tuple[AudioRef, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the published form: `audios` only if there are any."""
        record: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.audios:
            record["audios"] = [
                {"audio": a.audio, "text": a.text or NO_TRANSCRIPTION} for a in self.audios
            ]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Message":
        """Build a message from its published form.

        Raises:
            KeyError, TypeError: a field is missing or of another type.
        """
        audios = tuple(
            AudioRef(audio=a["audio"], text=a.get("text")) for a in record.get("audios") or ()
        )
        words = [record["role"], record["content"], *(a.text for a in audios if a.text is not None)]
        if not all(isinstance(word, str) for word in words):
            raise TypeError("role, content and text must be text")
        return cls(role=record["role"], content=record["content"], audios=audios)


@dataclass(frozen=True, kw_only=True)
class AudioTextPair:
    """A clip, a prompt about it and the backbone's response; a line of a shard.

    Field names and order are those of the published data set (DeSTA-AQA5M).
    """

    id: str
    dataset: str
    seed_description: str
    prompt: str
    response: str
    messages: tuple[Message, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object in the published schema."""
        return {
            "id": self.id,
            "dataset": self.dataset,
            "seed_description": self.seed_description,
            "prompt": self.prompt,
            "response": self.response,
            "messages": [m.to_json() for m in self.messages],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "AudioTextPair":
        """Build a pair from a JSON object; keys outside the schema are ignored."""
        return cls(
            id=record["id"],
            dataset=record["dataset"],
            seed_description=record["seed_description"],
            prompt=record["prompt"],
            response=record["response"],
            messages=tuple(Message.from_json(m) for m in record["messages"]),
        )


def with_audios(messages: Sequence[Message], refs: Sequence[AudioRef]) -> tuple[Message, ...]:
    """Return the messages with their clips replaced by these, in order."""
    rest = iter(refs)
    return tuple(replace(m, audios=tuple(next(rest) for _ in m.audios)) for m in messages)


def find_flaw(record: Mapping[str, Any]) -> str | None:
    """Return the reason why a row cannot be trained on, countable over rows; None if it can.

    Args:
        record: a line of a shard; a missing field counts as null.
    """
    messages = record.get("messages")
    if not messages or None in messages:
        return "has no messages"
    if any(message.get(name) is None for message in messages for name in ("role", "content")):
        return "has a message without role or content"
    clips = [clip for message in messages for clip in message.get("audios") or ()]
    if not all(clip and clip.get("audio") for clip in clips):
        return "has a clip without a path"
    if not (record.get("response") or "").strip():
        return "has no response"
    return None


def find_departure(row: Mapping[str, Any]) -> str | None:
    """Return how a row departs from the published schema; None if it does not."""
    if extra := row.keys() - _ROW:
        return f"has the field {_outside(extra)}"
    for name in TEXTS:
        if not isinstance(row.get(name), str | None):
            return f'has something else than text as "{name}"'
    messages = row.get("messages")
    if not _is_list_of_objects(messages):
        return "has messages that are not a list of objects"
    for message in filter(None, messages or ()):
        if extra := message.keys() - _MESSAGE:
            return f"has a message with the field {_outside(extra)}"
        if not all(isinstance(message.get(name), str | None) for name in ("role", "content")):
            return "has a message whose role or content is not text"
        clips = message.get("audios")
        if not _is_list_of_objects(clips):
            return "has audios that are not a list of objects"
        for clip in filter(None, clips or ()):
            if extra := clip.keys() - _CLIP:
                return f"has a clip with the field {_outside(extra)}"
            if not all(isinstance(value, str | None) for value in clip.values()):
                return "has a clip whose path or transcription is not text"
    if holds_half(json.dumps(row, ensure_ascii=False)):
        return HALF
    return None


def _outside(names: Set[str]) -> str:
    """Return the description of an unknown field, its name escaped where it cannot be stored."""
    return f'"{printable(min(names))}", which is not in the schema'


def _is_list_of_objects(value: Any) -> bool:
    """Return whether a value is null or a list of objects, which may be null too."""
    return value is None or (
        isinstance(value, list) and all(isinstance(item, dict | None) for item in value)
    )


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file, one a line; blank lines and byte order marks are skipped.

    Args:
        path: plain, or gzipped if its name ends in .gz.

    Raises:
        DataError: the file is missing or truncated, or a line is not a JSON object.
    """
    for _, record in numbered_jsonl(path):
        yield record


def numbered_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of `read_jsonl` with their line numbers, from 1."""
    for number, _, record in _numbered_lines(path):
        if isinstance(record, DataError):
            raise record
        yield number, record


def read_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | DataError]]:
    """Yield the lines of a JSONL file, each with its object or the error of this line.

    Args:
        path: as for `read_jsonl`.

    Raises:
        DataError: the file is missing or truncated.
    """
    return ((line, record) for _, line, record in _numbered_lines(path))


def _numbered_lines(path: Path) -> Iterator[tuple[int, bytes, dict[str, Any] | DataError]]:
    check_local(path)
    if not path.is_file():
        raise DataError(f"{path} is not a file", fix="give the path of a JSONL file")
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(_lines(file, path), start=1):
            if line.strip():
                yield number, line, _parse(line, f"{path}:{number}")


def _parse(line: bytes, where: str) -> dict[str, Any] | DataError:
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or far too deep
        return DataError(
            f"{where} is not JSON: {error}", fix="correct or delete that line", reason="is not JSON"
        )
    if not isinstance(record, dict):
        return DataError(
            f"{where} is not a JSON object",
            fix="write one object a line",
            reason="is not a JSON object",
        )
    return record


def _lines(file: Iterable[bytes], path: Path) -> Iterator[bytes]:
    try:
        for line in file:
            yield line.removeprefix(codecs.BOM_UTF8)  # also inside: files may have been joined
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is not whole: {error}", fix="fetch that file again") from error


def read_clip(record: Mapping[str, Any], path: Path) -> Clip:
    """Return the clip of a line of a file.

    Raises:
        DataError: it is not a clip.
    """
    try:
        return Clip.from_json(record)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path}: clip {record.get('id', '?')!r} is not in the clip format: {error}",
            fix="write the file with `desta describe`",
        ) from error


def stream_clips(path: Path) -> Iterator[Clip]:
    """Yield the clips of `clips.jsonl`.

    Raises:
        DataError: the file is missing or empty, or a line is not a clip.
    """
    empty = True
    for record in read_jsonl(path):
        yield read_clip(record, path)
        empty = False
    if empty:
        raise DataError(f"{path} holds no clips", fix="run `desta describe` on a corpus first")


def read_clips(path: Path) -> list[Clip]:
    """Return the clips of `clips.jsonl`; raises the errors of `stream_clips`."""
    return list(stream_clips(path))
