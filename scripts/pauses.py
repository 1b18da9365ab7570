"""Measure how much of a window with pauses is transcribed, and the gain of a second pass in pieces.

    python scripts/pauses.py CORPUS {even,uneven} [--clips 15] [--page docs/lab/windows.md]

CORPUS is the root of the unpacked Asterisk packages (`make data`). Its English prompts are joined
to clips of up to 28 s with pauses of 1 to 3 s of silence. `even` keeps their level; `uneven` lowers
each by 0, 10, 20 or 30 dB, like voices near and far.

Each clip is one window, padded to 30 s or at its true length, and is transcribed whole, in pieces
cut at the pauses, and by `desta.inference.pieces`, which uses pieces only if words seem to be
missing. Padded windows are also transcribed by transformers with Whisper's timestamps, which
continues after the last one. Standard errors are those of `windows.py`; seconds are processor time.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from desta import audio
from desta.config import to_plain
from desta.environment import environment
from desta.errors import DataError, DestaError
from desta.inference.pieces import cut_at_pauses, find_voices, read_again
from desta.inference.transcribe import Transcriber
from desta.model import checkpoint
from desta.model.encoder.control_tokens import load_whisper_tokenizer
from desta.model.hub.load import Part
from desta.progress import progress_bar
from measure.blocks import origin, replace_block
from proof_of_conversion import read_prompts
from windows import count_errors, rate

LONGEST = 28 * audio.SAMPLE_RATE
PAUSE_SECONDS = (1.0, 3.0)
LEVELS = {"even": (0,), "uneven": (0, -10, -20, -30)}  # dB
MUCH = 0.2  # share of the words of a clip whose loss anybody would notice
LANGUAGE = "English"

Samples = NDArray[np.float32]
Way = Callable[[Samples], str]


@dataclass(frozen=True, kw_only=True)
class Row:
    """Errors and cost of one way of transcribing."""

    way: str
    rate: float
    """Word error rate in [0, 1]."""
    standard_error: float
    left_out: float
    """Share of all words that are missing."""
    num_lossy: int
    """Clips that lack more than `MUCH` of their words."""
    cost: float
    """Processor seconds per second of audio."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("levels", choices=LEVELS)
    parser.add_argument("--whisper", default="openai/whisper-base")
    parser.add_argument("--clips", type=int, default=15)
    parser.add_argument("--page", type=Path, help="write the table into this page too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    facts = environment() | {"command": shlex.join(["python", *sys.argv])}
    try:
        clips = list(join(list(read_prompts(options.corpus)), LEVELS[options.levels]))
        if not clips:
            raise DataError(f"{options.corpus} holds no English prompts", fix="run `make data`")
        clips = clips[: options.clips]
        rows = measure(options.whisper, clips)
        seconds = sum(len(samples) for samples, _ in clips) / audio.SAMPLE_RATE / len(clips)
        text = table(facts, options.whisper, len(clips), seconds, rows)
        print(text)
        if options.page:
            replace_block(options.page, f"pauses, {options.levels}", text)
    except DestaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        figures = {"facts": facts, "clips": len(clips), "rows": [asdict(row) for row in rows]}
        text = json.dumps(to_plain(figures), indent=1)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    return 0


def join(
    prompts: Sequence[tuple[Path, str]], levels: Sequence[int], *, longest: int = LONGEST
) -> Iterator[tuple[Samples, str]]:
    """Yield prompts joined to clips, each with its text; the last, shorter one is left out."""
    random = np.random.default_rng(0)
    parts: list[Samples] = []
    texts: list[str] = []
    for number in random.permutation(len(prompts)):
        path, text = prompts[number]
        pause = np.zeros(round(random.uniform(*PAUSE_SECONDS) * audio.SAMPLE_RATE), np.float32)
        speech = audio.load_audio(path) * np.float32(10 ** (random.choice(levels) / 20))
        if sum(map(len, parts)) + len(pause) + len(speech) > longest and parts:
            yield np.concatenate(parts), " ".join(texts)
            parts, texts = [], []
        parts += [pause, speech] if parts else [speech]
        texts.append(text)


def ways(whisper: str) -> Iterator[tuple[str, Way]]:
    """Yield the names of all ways to transcribe a window, with their functions."""
    directory = checkpoint.local_directory(whisper)
    yield "padded, with timestamps", with_timestamps(directory)
    for name, window in (("padded", "30s"), ("tight", "tight")):
        transcriber = Transcriber.load(directory, window=window)

        def whole(samples: Samples, transcriber: Transcriber = transcriber) -> str:
            return transcriber.transcribe([samples], language=LANGUAGE)[0]

        def again(samples: Samples, transcriber: Transcriber = transcriber) -> str:
            return read_again(transcriber, samples, whole(samples, transcriber), language=LANGUAGE)

        def pieces(samples: Samples, transcriber: Transcriber = transcriber) -> str:
            seconds = len(samples) / audio.SAMPLE_RATE
            cuts = cut_at_pauses(find_voices(samples), seconds=seconds)
            windows = [
                samples[round(start * audio.SAMPLE_RATE) : round(end * audio.SAMPLE_RATE)]
                for start, end in cuts
            ]
            return " ".join(transcriber.transcribe(windows, language=LANGUAGE))

        yield f"{name}, whole", whole
        yield f"{name}, whole, and again where words seem to be missing", again
        yield f"{name}, always in pieces", pieces


def with_timestamps(directory: Path) -> Way:
    """Return Whisper's long-form transcription by transformers."""
    part = Part(str(directory))
    model = part.load(WhisperForConditionalGeneration, dtype=torch.float32)
    tokenizer = load_whisper_tokenizer(part)
    extract = WhisperFeatureExtractor(model.config.num_mel_bins)

    def transcribe(samples: Samples) -> str:
        features = extract(samples, sampling_rate=audio.SAMPLE_RATE, return_tensors="pt")
        ids = model.generate(
            features.input_features, language=LANGUAGE, task="transcribe", return_timestamps=True
        )
        return str(tokenizer.batch_decode(ids, skip_special_tokens=True)[0])

    return transcribe


def measure(whisper: str, clips: Sequence[tuple[Samples, str]]) -> list[Row]:
    """Transcribe every clip in every way; return the errors and cost of each way."""
    normalize = EnglishTextNormalizer({})
    references = [normalize(text) for _, text in clips]
    num_words = np.array([len(text.split()) for text in references])
    seconds = sum(len(samples) for samples, _ in clips) / audio.SAMPLE_RATE
    find_voices(clips[0][0])  # loads the detector
    rows = []
    with progress_bar("transcribe", total=7 * len(clips)) as advance:
        for name, way in ways(whisper):
            hypotheses, began = [], time.process_time()
            for samples, _ in clips:
                hypotheses.append(normalize(way(samples)))
                advance(name)
            cost = (time.process_time() - began) / seconds
            pairs = list(zip(references, hypotheses, strict=True))
            errors = np.array([count_errors(reference, text) for reference, text in pairs])
            missing = np.array([jiwer.process_words(*pair).deletions for pair in pairs])
            found = rate(name, errors, errors, num_words)
            rows.append(
                Row(
                    way=name,
                    rate=found.rate,
                    standard_error=found.standard_error,
                    left_out=float(missing.sum() / num_words.sum()),
                    num_lossy=int((missing > MUCH * num_words).sum()),
                    cost=cost,
                )
            )
    return rows


def table(
    facts: dict[str, Any], whisper: str, num_clips: int, seconds: float, rows: Sequence[Row]
) -> str:
    """Return the figures as Markdown."""
    lines = [
        f"{origin(facts)}: {whisper}, {num_clips} clips of {seconds:.0f} s in the mean.",
        "",
        "| window | word error rate ± standard error | words left out | clips that lack more than "
        f"{MUCH:.0%} | processor seconds per second |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.way} | {row.rate:.1%} ± {row.standard_error:.1%} | {row.left_out:.1%} | "
        f"{row.num_lossy} of {num_clips} | {row.cost:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
