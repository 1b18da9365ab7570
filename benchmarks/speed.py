"""Measure our settings against the published ones, both in our own code, in one run.

    python benchmarks/speed.py [--clips DIR] [--json FILE]

            published                           ours
  window    30 s                                true length for the connector, 30 s for Whisper
  numbers   float32                             bfloat16 where the CPU has it; Whisper float32
  LM head   on every position                   on labelled positions
  batches   12 pairs in random order            pairs of similar length, up to 2,048 tokens
  encoder   once for Whisper, once more for     once in each window
            the connector
  answers   one by one                          one by one, and 8 at once

Both sides hear the same eight 5-second clips through an untrained connector of the same size, on
the CPU, and write answers of the same length. Reading audio and computing spectrograms is timed
with the rest, and so is voice activity detection where Whisper transcribes. The sides take turns,
after one round each that does not count. Prints a Markdown table.
"""

import argparse
import json
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from desta import audio
from desta.data.batching import NO_LABEL
from desta.data.layout import wrap_locators
from desta.data.sampling import BucketSampler, Position
from desta.errors import DataError, DestaError
from desta.inference.conversation import SYSTEM_PROMPT, user_message
from desta.inference.engine import Engine, with_audios
from desta.llm.base import Sampling
from desta.llm.chat import encode_text
from desta.model import checkpoint
from desta.model.checkpoint import Loaded
from desta.model.config import ConnectorConfig, ModelConfig
from desta.model.desta import DestaModel
from desta.model.precision import precision
from desta.progress import progress_bar
from desta.records import LOCATOR, NO_TRANSCRIPTION, AudioTextPair, Message
from desta.training.batches import Collator, MicroBatch
from desta.training.config import DataConfig, OptimConfig
from desta.training.optim import make_optimizer
from desta.training.tracking import environment

CLIP_SECONDS = 5
NUM_CLIPS = 8  # the batch that is answered at once
NUM_PAIRS = 48  # trained on in a round; a multiple of the published batch
PUBLISHED_BATCH = 12
RESPONSE_TOKENS = (4, 86)  # with 64 query tokens, a pair has about 166 tokens in all
NEW_TOKENS = 16  # of every answer
PROMPT = "What can be heard in this clip, and who might be speaking?"
SPOKEN = "Please hold the line while I try to connect you."
RESPONSE = "The clip holds a calm voice that asks the caller to wait a little while longer. " * 10

DATA = DataConfig(train=())
OPTIM = OptimConfig()


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table; values are medians over the rounds."""

    what: str
    published: float
    ours: float
    ratio: float
    """How many times faster we are."""
    lowest: float
    """Smallest ratio of two rounds that took turns."""
    highest: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clips", type=Path, metavar="DIR", help="recordings; else synthetic")
    parser.add_argument("--backbone", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--encoder", default="openai/whisper-base")
    parser.add_argument("--query-tokens", type=int, default=64)
    parser.add_argument("--layers", type=int, default=6, help="of the Q-Former")
    parser.add_argument("--rounds", type=int, default=3, help="that count, of each side")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds is too small: give 1 or more")
    try:
        config = ModelConfig(
            backbone=options.backbone,
            encoder=options.encoder,
            connector=ConnectorConfig(
                num_query_tokens=options.query_tokens, num_layers=options.layers
            ),
        )
        with tempfile.TemporaryDirectory() as folder:
            paths = write_clips(options.clips, Path(folder))
            rows, facts = measure(config, paths, options.rounds)
    except DestaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    origin = f"those of {options.clips} nearest to that length" if options.clips else "synthetic"
    facts["clips"] = f"{NUM_CLIPS} of {CLIP_SECONDS} s, {origin}"
    print("| | published | ours | ratio (lowest to highest) |")
    print("|---|---|---|---|")
    for row in rows:
        ratio = f"{row.ratio:.2f} ({row.lowest:.2f} to {row.highest:.2f})"
        print(f"| {row.what} | {row.published:.3g} | {row.ours:.3g} | {ratio} |")
    print()
    for name, value in facts.items():
        print(f"- {name}: {value}")
    if options.json:
        figures = facts | {"rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(
    config: ModelConfig, paths: Sequence[Path], rounds: int
) -> tuple[list[Row], dict[str, Any]]:
    """Return the lines of the table, and what they depend on."""
    published, ours = build(replace(config, window="30s", dtype="float32")), build(config)
    pairs = make_pairs(ours, paths)
    reader = Collator(DATA, ours).reader
    lengths = [reader.length(pair) for pair in pairs]
    rows = [compare_training(published, ours, pairs, lengths, rounds)]
    engines = Engine(published), Engine(ours)
    for text in (None, SPOKEN):
        rows += compare_answers(*engines, paths, text, rounds)
    heard = [
        engines[1].respond([ask(path, None)], Sampling(max_new_tokens=NEW_TOKENS))[0].audios[0].text
        for path in paths
    ]
    return rows, environment() | {
        "command": shlex.join(["python", *sys.argv]),
        "model": f"{config.encoder} + Q-Former of {config.connector.num_layers} layers, "
        f"{config.connector.num_query_tokens} query tokens + {config.backbone}",
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "precision of ours": str(precision(config.dtype)).removeprefix("torch."),
        "clips with speech": sum(text != NO_TRANSCRIPTION for text in heard),
        "tokens of a pair": f"{mean(lengths):.0f} ({min(lengths)} to {max(lengths)})",
        "new tokens of an answer": NEW_TOKENS,
        "rounds": rounds,
    }


def build(config: ModelConfig) -> Loaded:
    """Build a model whose answers never end early; every call draws the same connector."""
    torch.manual_seed(0)
    loaded = checkpoint.fresh(config)
    loaded.model.llm_model.generation_config.min_new_tokens = NEW_TOKENS
    return loaded


def write_clips(source: Path | None, folder: Path) -> list[Path]:
    """Write the clips into a folder, each cut or padded with silence to `CLIP_SECONDS`."""
    length = CLIP_SECONDS * audio.SAMPLE_RATE
    if source is None:
        clips = [speech_like(np.random.default_rng(seed)) for seed in range(NUM_CLIPS)]
    else:
        formats = soundfile.available_formats()
        files = sorted(p for p in source.rglob("*") if p.suffix[1:].upper() in formats)
        if len(files) < NUM_CLIPS:
            raise DataError(
                f"{source} holds {len(files)} recordings", fix=f"give a folder of {NUM_CLIPS}"
            )
        files.sort(key=lambda path: abs(audio.probe_duration(path) - CLIP_SECONDS))
        clips = [audio.load(path)[:length] for path in files[:NUM_CLIPS]]
    paths = [folder / f"{number}.wav" for number in range(NUM_CLIPS)]
    for path, clip in zip(paths, clips, strict=True):
        soundfile.write(path, np.pad(clip, (0, length - len(clip))), audio.SAMPLE_RATE)
    return paths


def speech_like(generator: np.random.Generator) -> NDArray[np.float32]:
    """Make a wordless voice that passes for speech: what the detector rejects, nobody transcribes.

    Pitch and formants glide, and there are two syllables a second.
    """
    times = np.arange(CLIP_SECONDS * audio.SAMPLE_RATE) / audio.SAMPLE_RATE
    knots = np.arange(0, CLIP_SECONDS + 0.2, 0.2)
    pitch, *formants = (  # Hz
        np.interp(times, knots, generator.uniform(lowest, highest, len(knots)))
        for lowest, highest in ((100, 180), (300, 800), (900, 2200), (2300, 3000))
    )
    phase = 2 * np.pi * np.cumsum(pitch) / audio.SAMPLE_RATE
    voice = np.zeros_like(times)
    for harmonic in range(1, 25):
        gain = sum(1 / (1 + ((harmonic * pitch - formant) / 100) ** 2) for formant in formants)
        voice += gain * np.sin(harmonic * phase) / harmonic
    voice *= np.clip(np.sin(4 * np.pi * times) + 0.6, 0, 1)
    voice += 0.01 * generator.standard_normal(len(times))  # breath
    return (0.5 * voice / np.abs(voice).max()).astype(np.float32)


def ask(path: Path, text: str | None) -> list[Message]:
    """Return a question about a clip; without a text, Whisper transcribes."""
    system = Message(role="system", content=SYSTEM_PROMPT)
    return [system, user_message(PROMPT, [path], locator=LOCATOR, texts=[text])]


def make_pairs(loaded: Loaded, paths: Sequence[Path]) -> list[AudioTextPair]:
    """Return pairs whose responses have lengths spread over `RESPONSE_TOKENS`."""
    lengths = np.random.default_rng(0).integers(*RESPONSE_TOKENS, NUM_PAIRS, endpoint=True)
    words = encode_text(loaded.tokenizer, RESPONSE)
    return [
        AudioTextPair(
            id=str(number),
            dataset="speed",
            seed_description="",
            prompt=PROMPT,
            response=loaded.tokenizer.decode(words[:length]),
            messages=tuple(wrap_locators(ask(paths[number % len(paths)], SPOKEN), LOCATOR)),
        )
        for number, length in enumerate(lengths)
    ]


def compare_training(
    published: Loaded,
    ours: Loaded,
    pairs: Sequence[AudioTextPair],
    lengths: Sequence[int],
    rounds: int,
) -> Row:
    """Let both train on all pairs."""
    order = np.random.default_rng(0).permutation(len(pairs))
    random_batches = order.reshape(-1, PUBLISHED_BATCH).tolist()
    sampler = BucketSampler(len(pairs), lengths.__getitem__, token_budget=DATA.token_budget)
    epoch = takewhile(lambda taken: taken[1].epoch == 0, sampler.batches(Position()))
    works = [
        training(published, pairs, random_batches, full_loss_sum),
        training(ours, pairs, [batch for batch, _ in epoch], lambda m, b: m(*b.inputs())),
    ]
    seconds = take_turns("training", works, rounds)
    return comparison("training, samples/s", *seconds, to_value=lambda s: len(pairs) / s)


def training(
    loaded: Loaded,
    pairs: Sequence[AudioTextPair],
    batches: Sequence[Sequence[int]],
    loss_sum: Callable[[DestaModel, MicroBatch], Tensor],
) -> Callable[[], None]:
    """Return what takes a step on each batch, as `desta.training.loop` does."""
    model, collator = loaded.model, Collator(DATA, loaded)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer(parameters, OPTIM)
    mixed = precision(model.config.dtype) == torch.bfloat16

    def work() -> None:
        model.train()
        for numbers in batches:
            micro_batch = collator([pairs[number] for number in numbers])
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                loss = loss_sum(model, micro_batch)
            (loss / micro_batch.batch.num_labels).backward()
            torch.nn.utils.clip_grad_norm_(parameters, OPTIM.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return work


def full_loss_sum(model: DestaModel, micro_batch: MicroBatch) -> Tensor:
    """Return the summed loss by way of the logits of every position."""
    mel, input_ids_BS, attention_mask_BS, places_P2, labels_BS = micro_batch.inputs()
    audio_WQE = model.audio_tokens(model.encode(mel))
    logits_BSV = model.llm_model(
        inputs_embeds=model.embed(input_ids_BS, audio_WQE, places_P2),
        attention_mask=attention_mask_BS,
        use_cache=False,
    ).logits
    targets_BS = functional.pad(labels_BS[:, 1:], (0, 1), value=NO_LABEL)
    return functional.cross_entropy(
        logits_BSV.flatten(0, 1), targets_BS.flatten(), ignore_index=NO_LABEL, reduction="sum"
    )


def compare_answers(
    published: Engine, ours: Engine, paths: Sequence[Path], text: str | None, rounds: int
) -> list[Row]:
    """Let both answer the question about every clip."""
    conversations = [ask(path, text) for path in paths]

    def answer(engine: Engine, *batch: Sequence[Message]) -> None:
        answers = engine.respond(batch, Sampling(max_new_tokens=NEW_TOKENS))
        assert all(len(a.ids) == NEW_TOKENS for a in answers)

    def transcribed(conversation: Sequence[Message]) -> list[Message]:
        """Let Whisper encode for itself; the connector will encode a second time."""
        refs = []
        for ref in conversation[-1].audios:
            samples = audio.load(ref.audio)
            windows = audio.split_windows(samples)
            said = published.transcriber.transcribe_clip(samples, windows)
            refs.append(replace(ref, text=said))
        return with_audios(conversation, refs)

    def as_published() -> None:
        for conversation in conversations:
            answer(published, transcribed(conversation) if text is None else conversation)

    def one_by_one() -> None:
        for conversation in conversations:
            answer(ours, conversation)

    def at_once() -> None:
        answer(ours, *conversations)

    how = "Whisper transcribes" if text is None else "text given"
    works = [as_published, one_by_one, at_once]
    theirs, alone, batched = take_turns(f"answers, {how}", works, rounds)
    return [
        comparison(
            f"answer, {how}, ours {number}, s", theirs, seconds, to_value=lambda s: s / len(paths)
        )
        for number, seconds in (("one by one", alone), (f"{len(paths)} at once", batched))
    ]


def take_turns(label: str, works: Sequence[Callable[[], None]], rounds: int) -> list[list[float]]:
    """Return the seconds that each work took in every round but the first, uncounted one."""
    seconds: list[list[float]] = [[] for _ in works]
    with progress_bar(label, total=(rounds + 1) * len(works)) as advance:
        for _ in range(rounds + 1):
            for work, taken in zip(works, seconds, strict=True):
                started = time.perf_counter()
                work()
                taken.append(time.perf_counter() - started)
                advance()
    return [taken[1:] for taken in seconds]


def comparison(
    what: str,
    published: Sequence[float],
    ours: Sequence[float],
    *,
    to_value: Callable[[float], float],
) -> Row:
    """Compare the seconds of both sides; `to_value` turns those of a round into what is shown."""
    ratios = [p / o for p, o in zip(published, ours, strict=True)]
    return Row(
        what=what,
        published=to_value(median(published)),
        ours=to_value(median(ours)),
        ratio=median(published) / median(ours),
        lowest=min(ratios),
        highest=max(ratios),
    )


def cpu_name() -> str:
    """Return what Linux calls the processor; elsewhere what Python knows of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
