"""Measure the quality with windows of true length against windows padded to 30 s.

    python scripts/windows.py [--corpus DIR] [--scores PADDED TIGHT] [--page docs/lab/windows.md]

Each of the first two options measures one thing and writes its own block of the page. The corpus is
the root of the unpacked Asterisk packages (`make data`). Whisper was trained on windows of 30 s and
its encoder is frozen, so it has not been trained on shorter windows.

Transcription: word error rate over the English prompts of at least three words (those of
`proof_of_conversion.py`), padded to 30 s, at true length as `tight` windows are transcribed, and at
true length followed by some silence alone. Standard errors are bootstrapped over clips; that of the
difference is paired.

Connector: `scores.json` of `desta eval attributes` for two connectors, one trained and evaluated
with padded windows, the other with tight ones (`desta train ... --set model.window=30s`).
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from numpy.typing import NDArray
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from desta import audio
from desta.config import to_plain
from desta.environment import environment
from desta.errors import DataError, DestaError
from desta.evaluation.base import MODEL
from desta.inference.transcribe import Transcriber
from desta.model import checkpoint
from desta.model.config import Window
from desta.model.encoder.mel import MelExtractor
from desta.progress import progress_bar
from measure.blocks import origin, replace_block
from proof_of_conversion import read_prompts

WAYS: tuple[tuple[str, Window, int, bool], ...] = (
    ("padded to 30 s", "30s", 0, False),
    ("true length, a few frames for the silence up to 30 s (`tight`)", "tight", 0, True),
    ("true length and 0.5 s of silence", "tight", 0, False),
    ("true length and 1.5 s of silence", "tight", 1, False),
)
"""Name, window, seconds of silence after the clip, whether frames stand for the rest of it; the
others are compared with the first."""
DRAWS = 2000  # of clips with replacement, for a standard error


@dataclass(frozen=True, kw_only=True)
class Row:
    """Word error rate of one kind of windows, in [0, 1]."""

    way: str
    rate: float
    standard_error: float
    difference: float
    """To the first way, on the same clips."""
    difference_error: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="measure transcription")
    parser.add_argument("--whisper", default="openai/whisper-base")
    parser.add_argument("--clips", type=int, help="number of prompts; all by default")
    parser.add_argument(
        "--scores", type=Path, nargs=2, metavar=("PADDED", "TIGHT"), help="compare connectors"
    )
    parser.add_argument("--page", type=Path, help="write the tables into this page too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    if not (options.corpus or options.scores):
        parser.error("nothing to measure: give --corpus or --scores")
    figures: dict[str, Any] = {
        "facts": environment() | {"command": shlex.join(["python", *sys.argv])}
    }
    tables = {}
    try:
        if options.corpus:
            clips = list(read_prompts(options.corpus))[: options.clips]
            if not clips:
                raise DataError(f"{options.corpus} holds no English prompts", fix="run `make data`")
            rows = compare(options.whisper, clips)
            figures |= {"whisper": options.whisper, "clips": len(clips)}
            figures["transcription"] = [asdict(row) for row in rows]
            tables["transcription"] = transcription_table(figures)
        if options.scores:
            figures["connectors"] = compare_connectors(*options.scores)
            tables["connectors"] = connectors_table(figures)
        for name, table in tables.items():
            print(table, end="\n\n")
            if options.page:
                replace_block(options.page, name, table)
    except DestaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        text = json.dumps(to_plain(figures), indent=1)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    return 0


def compare(whisper: str, clips: Sequence[tuple[Path, str]]) -> list[Row]:
    """Transcribe every clip with every kind of windows; return their error rates."""
    transcriber = Transcriber.load(checkpoint.local_directory(whisper))
    normalize = EnglishTextNormalizer({})
    num_words = np.array([len(normalize(text).split()) for _, text in clips])
    errors_by_way = np.zeros((len(WAYS), len(clips)), dtype=np.int64)
    with progress_bar("transcribe", total=len(WAYS) * len(clips)) as advance:
        for number, (path, text) in enumerate(clips):
            samples = audio.load_audio(path)
            for way, (name, *how) in enumerate(WAYS):
                hypothesis = transcribe(transcriber, samples, *how)
                errors_by_way[way, number] = count_errors(normalize(text), normalize(hypothesis))
                advance(name)
    return [
        rate(name, errors, errors_by_way[0], num_words)
        for (name, *_), errors in zip(WAYS, errors_by_way, strict=True)
    ]


def transcribe(
    transcriber: Transcriber,
    samples: NDArray[np.float32],
    window: Window,
    silence: int,
    until_30s: bool,
) -> str:
    """Return the transcription of a clip."""
    mel = MelExtractor(transcriber.encoder.num_mel_bins, window)
    texts = []
    for start, end in audio.split_windows(samples, max_seconds=audio.WINDOW_SECONDS - silence):
        padded = np.pad(samples[start:end], (0, silence * audio.SAMPLE_RATE))
        encoded = transcriber.encoder(mel([padded]), silence=until_30s)
        texts += transcriber.transcribe_frames(
            encoded.last_BTD,
            encoded.mask_BT,
            language="English",
            seconds=[(end - start) / audio.SAMPLE_RATE] if window == "tight" else None,
        )
    return " ".join(texts)


def count_errors(reference: str, hypothesis: str) -> int:
    """Return the number of substituted, deleted and inserted words.

    >>> count_errors("one two three", "one too")
    2
    """
    found = jiwer.process_words(reference, hypothesis)
    return found.substitutions + found.deletions + found.insertions


def rate(
    way: str, errors: NDArray[np.int64], padded: NDArray[np.int64], num_words: NDArray[np.int64]
) -> Row:
    """Return the error rate over all words of all clips, with its standard error.

    Args:
        way: name of the kind of windows.
        errors: errors of each clip.
        padded: errors of each clip with padded windows.
        num_words: words of each clip.
    """
    count = len(num_words)
    drawn = np.random.default_rng(0).integers(count, size=(DRAWS, count))
    words_of_draws = num_words[drawn].sum(axis=1)

    def spread(values: NDArray[np.int64]) -> float:
        return float((values[drawn].sum(axis=1) / words_of_draws).std(ddof=1))

    total = num_words.sum()
    return Row(
        way=way,
        rate=float(errors.sum() / total),
        standard_error=spread(errors),
        difference=float((errors - padded).sum() / total),
        difference_error=spread(errors - padded),
    )


def compare_connectors(padded: Path, tight: Path) -> list[dict[str, Any]]:
    """Return the scores of both connectors by task.

    Raises:
        DataError: a file holds no scores, or their tasks differ.
    """
    cells = [_cells(path) for path in (padded, tight)]
    if list(cells[0]) != list(cells[1]):
        raise DataError(
            f"{padded} and {tight} hold scores of different tasks", fix="use one recipe for both"
        )
    return [
        {"task": key[0], "group": key[1], "padded": cells[0][key], "tight": cells[1][key]}
        for key in cells[0]
    ]


def _cells(path: Path) -> dict[tuple[str, str], dict[str, float]]:
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))["scores"]
        return {
            (cell["task"], cell["group"]): cell["balanced_accuracy"]
            for cell in scores
            if cell["system"] == MODEL and "balanced_accuracy" in cell
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} holds no scores: {error}", fix="run `desta eval attributes` first"
        ) from error


def transcription_table(figures: dict[str, Any]) -> str:
    """Return the word error rates as Markdown."""
    lines = [
        f"{origin(figures['facts'])}: {figures['whisper']}, {figures['clips']} English prompts.",
        "",
        "| window | word error rate ± standard error | difference to padded ± standard error |",
        "|---|---|---|",
    ]
    for number, row in enumerate(Row(**row) for row in figures["transcription"]):
        difference = f"{row.difference:+.2%} ± {row.difference_error:.2%}" if number else "-"
        lines.append(f"| {row.way} | {row.rate:.2%} ± {row.standard_error:.2%} | {difference} |")
    return "\n".join(lines)


def connectors_table(figures: dict[str, Any]) -> str:
    """Return the scores of both connectors as Markdown."""
    lines = [
        f"{origin(figures['facts'])}.",
        "",
        "| balanced accuracy ± standard error | padded | tight |",
        "|---|---|---|",
    ]
    for row in figures["connectors"]:
        shown = (
            f"{row[side]['value']:.1%} ± {row[side]['standard_error']:.1%}"
            for side in ("padded", "tight")
        )
        lines.append(f"| {row['task']}, {row['group']} | {' | '.join(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
