"""Transcriptions in plain text: a line a recording, with an id or without."""

import gzip
import logging
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from desta.errors import DataError
from desta.evaluation.benchmarks.transcription.recording_ids import are_ids, is_id, seem_ids

_TRN = re.compile(r"(.*?)\s*\(([^\s()]+)\)\s*")
_TIMED = (".stm", ".ctm", ".srt", ".vtt", ".rttm", ".textgrid", ".eaf")
_TIMES = re.compile(
    r"\S+\s+\S+\s+(?:\S+\s+)?\d+\.\d+\s+\d+(?:\.\d+)?(?:\s.*)?"  # CTM, STM
    r"|[\d:]+[.,]\d+\s+-->\s+[\d:]+[.,]\d+.*"  # subtitles
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Text:
    """Lines of a file."""

    path: Path
    lines: tuple[str, ...]
    """All of them, also the empty ones."""
    marked: tuple[tuple[str, str], ...] | None
    """Ids and words, where the form itself tells them apart: a tab, `(id)`, or the name `text`."""

    @property
    def heads(self) -> list[tuple[str, str]]:
        """First words of the lines that have any, which may be ids, and the others."""
        words = [line.split(maxsplit=1) for line in self.lines if line.strip()]
        return [(word[0], word[1] if word[1:] else "") for word in words]


def read_text_lines(path: Path) -> Text:
    """Read lines of text.

    Raises:
        DataError: the file is missing, broken or empty, or its lines are timed.
    """
    whole = [line.rstrip("\r") for line in read_content(path).removesuffix("\n").split("\n")]
    lines = [line for line in whole if line.strip()]
    _check_untimed(path, lines)
    text = Text(path=path, lines=tuple(whole), marked=None)
    heads = [line.partition("\t") for line in lines]
    ends = [_TRN.fullmatch(line) for line in lines]
    if all(tab and len(id.split()) == 1 for id, tab, _ in heads):
        marked = [(id.strip(), words) for id, _, words in heads]
    elif all(end is not None and is_id(end[2]) for end in ends):
        marked = [(end[2], end[1]) for end in ends if end is not None]
    elif path.name == "text":
        marked = text.heads
    else:
        return text
    return Text(path=path, lines=text.lines, marked=tuple(marked))


def split_ids(
    text: Text, ids: Sequence[str] = (), others: Text | None = None
) -> list[tuple[str | None, str]]:
    """Return the lines of a text, each with its id, or None where it has none.

    Args:
        text: the file.
        ids: those of the other file, where it has ids for sure.
        others: the other file, where that is a text as well.
    """
    if text.marked is not None:
        return list(text.marked)
    words = [id for id, _ in text.heads]
    if are_ids(words, ids) or seem_ids(words, others.lines if others else ids):
        log.info("%s: lines begin with ids, for example %s", text.path, words[0])
        return list(text.heads)
    return [(None, line) for line in text.lines]


def _check_untimed(path: Path, lines: Sequence[str]) -> None:
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    spoken = [line for line in lines if not line.startswith(";;")]
    times = [line for line in spoken if _TIMES.fullmatch(line.strip())]
    subtitles = any("-->" in line for line in times)
    if suffix in _TIMED or len(spoken) < len(lines) or subtitles or len(times) == len(spoken):
        raise DataError(
            f"{path} holds words with their times (STM, CTM, subtitles or the like), not a line a "
            "recording",
            fix="write a line for each recording, `id words`, into a file without times",
        )


def read_content(path: Path) -> str:
    """Return the text of a file, gzipped or not.

    Raises:
        DataError: it is missing, empty, cut or not UTF-8.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file", fix="give the path of a file of transcriptions")
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} is not whole: {error}", fix="fetch that file again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error}", fix="save it as UTF-8") from error
    if not text.strip():
        raise DataError(f"{path} is empty", fix="give a file with a line for each recording")
    return text
