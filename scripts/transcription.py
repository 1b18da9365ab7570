"""Measure speed and word error rate of transcription beside faster-whisper, in one run.

    python scripts/transcription.py CORPUS --peer PYTHON [--clips 80] [--page docs/lab/windows.md]

CORPUS is the root of the unpacked Asterisk packages (`make data`). PYTHON is an interpreter of a
virtual environment with `faster-whisper`; both sides get the weights of the zoo's Whisper-base and
the same number of threads. English prompts of at least three words are transcribed as they are, and
joined to clips of up to 25 s with pauses of 1 to 3 s.

Ours takes batches of similar lengths, padded to 30 s and at true length. faster-whisper takes clip
by clip in int8, greedily without a second attempt, which is its fastest way, and as it is by
default. All sides take turns, `--rounds` times; seconds are the least of them. Run it on a machine
that does nothing else: what counts is the ratio, not the seconds.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from desta import audio
from desta.audio import split_windows
from desta.config import to_plain
from desta.data.batching import similar_lengths
from desta.environment import environment
from desta.errors import DataError, DestaError
from desta.inference.transcribe import BATCH_SIZE, Transcriber
from desta.model.config import Window
from desta.model.hub import zoo
from measure.blocks import origin, replace_block
from pauses import join
from proof_of_conversion import read_prompts
from windows import Row as Rates
from windows import count_errors, rate

WHISPER = "openai/whisper-base"
LONGEST = 25 * audio.SAMPLE_RATE
PEER_WAYS = {
    "faster-whisper int8, greedy": {"beam_size": 1, "best_of": 1, "temperature": 0.0},
    "faster-whisper int8, as by default": {},
}
# Runs in the other interpreter: model directory, threads; then a line of JSON in, one out.
PEER = """
import json, sys, time
import numpy as np
from faster_whisper import WhisperModel
directory, threads = sys.argv[1], int(sys.argv[2])
model = WhisperModel(directory, device="cpu", compute_type="int8", cpu_threads=threads)
for line in sys.stdin:
    asked = json.loads(line)
    clips = np.load(asked["clips"])
    began, texts = time.perf_counter(), []
    for name in clips.files:
        options = {"language": "en", "without_timestamps": True, **asked["options"]}
        segments, _ = model.transcribe(clips[name], **options)
        texts.append(" ".join(segment.text.strip() for segment in segments))
    print(json.dumps({"seconds": time.perf_counter() - began, "texts": texts}), flush=True)
"""

Samples = NDArray[np.float32]
Side = Callable[[], tuple[float, list[str]]]


@dataclass(frozen=True, kw_only=True)
class Row(Rates):
    """Errors and seconds of one way of transcribing; differences are to padded windows."""

    seconds: float
    """Least of all rounds."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--peer", type=Path, required=True, metavar="PYTHON")
    parser.add_argument("--clips", type=int, help="number of prompts; all by default")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--page", type=Path, help="write the tables into this page too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    figures: dict[str, Any] = {
        "facts": environment() | {"command": shlex.join(["python", *sys.argv])}
    }
    try:
        prompts = list(read_prompts(options.corpus))[: options.clips]
        if not prompts:
            raise DataError(f"{options.corpus} holds no English prompts", fix="run `make data`")
        kinds = {
            "prompts": [(audio.load_audio(path), text) for path, text in prompts],
            "prompts joined to 25 s": list(join(prompts, (0,), longest=LONGEST)),
        }
        with tempfile.TemporaryDirectory() as folder:
            zoo.download(zoo.ZOO[WHISPER], weights := Path(folder, "whisper"))
            peer = [str(options.peer), "-c", PEER, str(weights), str(options.threads)]
            for kind, clips in kinds.items():
                rows = measure(clips, peer, options.rounds)
                figures[kind] = [asdict(row) for row in rows]
                shown = table(figures["facts"], kind, clips, rows)
                print(shown, end="\n\n")
                if options.page:
                    replace_block(options.page, f"transcription beside a peer, {kind}", shown)
    except DestaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        text = json.dumps(to_plain(figures), indent=1)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    return 0


def measure(clips: Sequence[tuple[Samples, str]], peer: Sequence[str], rounds: int) -> list[Row]:
    """Transcribe all clips in every way, in turns; return errors and seconds of each.

    Args:
        clips: samples and text of each.
        peer: command that starts the other side.
        rounds: times that each way transcribes all clips, after the first, which warms up.
    """
    samples = [samples for samples, _ in clips]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(file := Path(folder, "clips.npz"), *samples)
        with subprocess.Popen(
            peer, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            sides: dict[str, Side] = {
                "padded to 30 s": ours(samples, "30s"),
                "true length (`tight`)": ours(samples, "tight"),
                **{way: theirs(other, file, given) for way, given in PEER_WAYS.items()},
            }
            for side in sides.values():  # loads and warms up
                side()
            found = [{way: side() for way, side in sides.items()} for _ in range(rounds)]
            other.communicate()
    normalize = EnglishTextNormalizer({})
    references = [normalize(text) for _, text in clips]
    num_words = np.array([len(text.split()) for text in references])
    errors = {
        way: np.array(
            [count_errors(r, normalize(t)) for r, t in zip(references, texts, strict=True)]
        )
        for way, (_, texts) in found[0].items()
    }
    padded = next(iter(errors.values()))
    return [
        Row(
            **asdict(rate(way, wrong, padded, num_words)),
            seconds=min(turn[way][0] for turn in found),
        )
        for way, wrong in errors.items()
    ]


def ours(samples: Sequence[Samples], window: Window) -> Side:
    """Return our way to transcribe all clips with one kind of windows."""
    transcriber = Transcriber.load(zoo.resolve(WHISPER), window=window)

    def transcribe() -> tuple[float, list[str]]:
        began = time.perf_counter()
        bounds = [(clip, *b) for clip in range(len(samples)) for b in split_windows(samples[clip])]
        texts = [""] * len(bounds)
        for group in similar_lengths(
            [end - start for _, start, end in bounds], max_size=BATCH_SIZE
        ):
            windows = [samples[clip][start:end] for clip, start, end in (bounds[i] for i in group)]
            found = transcriber.transcribe(windows, language="English")
            for place, text in zip(group, found, strict=True):
                texts[place] = text
        whole = [
            " ".join(text for text, (of, _, _) in zip(texts, bounds, strict=True) if of == clip)
            for clip in range(len(samples))
        ]
        return time.perf_counter() - began, whole

    return transcribe


def theirs(other: "subprocess.Popen[str]", clips: Path, given: dict[str, Any]) -> Side:
    """Return a way of faster-whisper to transcribe all clips."""

    def transcribe() -> tuple[float, list[str]]:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(json.dumps({"clips": str(clips), "options": given}) + "\n")
        other.stdin.flush()
        answer = json.loads(other.stdout.readline())
        return answer["seconds"], answer["texts"]

    return transcribe


def table(
    facts: dict[str, Any], kind: str, clips: Sequence[tuple[Samples, str]], rows: Sequence[Row]
) -> str:
    """Return the figures as Markdown; speed is relative to the peer's fastest way."""
    seconds = sum(len(samples) for samples, _ in clips) / audio.SAMPLE_RATE
    peer = min(row.seconds for row in rows if row.way in PEER_WAYS)
    lines = [
        f"{origin(facts)}: {WHISPER}, {len(clips)} {kind}, {seconds:.0f} s, in one run.",
        "",
        "| way | word error rate ± standard error | difference to padded ± standard error | "
        "seconds | times as fast as the peer's fastest |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.way} | {row.rate:.2%} ± {row.standard_error:.2%} | "
        f"{row.difference:+.2%} ± {row.difference_error:.2%} | {row.seconds:.1f} | "
        f"{peer / row.seconds:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
