"""Measure how a backbone's answers change when its weights are quantized to 8 bits.

    python scripts/int8.py [--backbone NAME] [--prompts N] [--json FILE]

Both sides are the same backbone, rounded to bfloat16 as in training, with the same compute dtype;
one of them stores its matrices as int8 with one scale per row (torchao, CPU). They answer prompts
of construction's speech pool about a seed description, greedily, one by one, in turns. Divergences
are computed at every token of the exact side's answers, which both sides get as input. Prints a
Markdown table.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from desta.construction.prompts import load_pool
from desta.environment import environment
from desta.errors import DestaError
from desta.model.backbone.chat import encode_chat
from desta.model.backbone.load import load_backbone
from desta.model.config import Dtype, ModelConfig
from desta.model.hub.load import Part
from desta.progress import progress_bar
from desta.records import END_AUDIO, START_AUDIO, Message

BACKBONE = "HuggingFaceTB/SmolLM2-135M-Instruct"
DESCRIPTION = (
    "[00:00-00:05] Please hold the line while I try to connect you. "
    "(Gender: Female, Emotion: Neutral, Duration: 5s)"
)
NEW_TOKENS = 48  # longest answer


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: a mean over prompts and its standard error."""

    what: str
    value: float
    standard_error: float | None = None


@dataclass(frozen=True)
class Written:
    """Answers of one side."""

    ids: list[list[int]]
    seconds_per_token: list[float]


def main() -> int:
    """Measure and print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default=BACKBONE, help="Hub id or directory")
    parser.add_argument("--prompts", type=int, default=64, help="how many at most")
    parser.add_argument("--dtype", default="auto", help="precision of the computation")
    parser.add_argument("--json", type=Path, help="write the rows there as well")
    arguments = parser.parse_args()
    try:
        prompts = [prompt.text for prompt in load_pool("speech")[: arguments.prompts]]
        rows = measure(arguments.backbone, prompts, arguments.dtype)
    except DestaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        report = {"environment": environment(), "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print("| int8 against exact | mean | standard error |\n|---|---|---|")
    for row in rows:
        error = "" if row.standard_error is None else f"{row.standard_error:.3g}"
        print(f"| {row.what} | {row.value:.4g} | {error} |")
    return 0


def measure(name: str, prompts: Sequence[str], dtype: Dtype) -> list[Row]:
    """Load both sides, generate answers, and compare them."""
    config = ModelConfig(backbone=name, encoder="", dtype=dtype)
    part = Part.find(name)
    exact, tokenizer = load_backbone(part, config)
    small, _ = load_backbone(part, replace(config, backbone_quantization="int8"))
    clip = f"{START_AUDIO}{DESCRIPTION}{END_AUDIO}"
    asked = [
        encode_chat(tokenizer, [Message(role="user", content=f"{clip}\n\n{prompt}")])[0]
        for prompt in prompts
    ]
    written = (Written([], []), Written([], []))
    divergences, agreements = [], []
    with progress_bar("answers", total=2 * len(asked)) as advance:
        for ids in asked:
            for model, side in zip((exact, small), written, strict=True):
                answer, seconds = answer_greedily(model, ids)
                side.ids.append(answer)
                side.seconds_per_token.append(seconds)
                advance()
            divergence, agreement = compare_logits(exact, small, ids, written[0].ids[-1])
            divergences.append(divergence)
            agreements.append(agreement)
    pairs = list(zip(written[0].ids, written[1].ids, strict=True))
    kept = [
        len(list(takewhile(lambda two: two[0] == two[1], zip(a, b, strict=False)))) / len(a)
        for a, b in pairs
    ]
    speeds = [median(side.seconds_per_token) for side in written]
    return [
        row("answers that are the same, token for token", [float(a == b) for a, b in pairs]),
        row("share of an answer before the first other token", kept),
        row("tokens that both find likeliest, same text read", agreements),
        row("Kullback-Leibler divergence a token, nats", divergences),
        Row(what="tokens a second, exact", value=1 / speeds[0]),
        Row(what="tokens a second, int8", value=1 / speeds[1]),
        Row(what="ratio of speeds", value=speeds[0] / speeds[1]),
    ]


def row(what: str, values: Sequence[float]) -> Row:
    """Return the row of a mean over prompts."""
    error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return Row(what=what, value=mean(values), standard_error=error)


@torch.inference_mode()
def answer_greedily(model: Any, ids: Sequence[int]) -> tuple[list[int], float]:
    """Return an answer, end token included, and the seconds per token."""
    started = time.perf_counter()
    whole = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=NEW_TOKENS)
    answer = whole[0, len(ids) :].tolist()
    return answer, (time.perf_counter() - started) / len(answer)


@torch.inference_mode()
def compare_logits(
    exact: Any, small: Any, ids: Sequence[int], answer: Sequence[int]
) -> tuple[float, float]:
    """Return the mean divergence per token of an answer, and the share of equal tokens."""

    def log_probabilities(model: Any) -> Tensor:
        logits = model(torch.tensor([[*ids, *answer[:-1]]])).logits[0, len(ids) - 1 :]
        return functional.log_softmax(logits.float(), dim=-1)

    ours, theirs = log_probabilities(small), log_probabilities(exact)
    divergence = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1)
    same = (ours.argmax(dim=-1) == theirs.argmax(dim=-1)).float()
    return float(divergence.mean()), float(same.mean())


if __name__ == "__main__":
    sys.exit(main())
