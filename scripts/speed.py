"""Measure the gain of every lever between the published settings and ours, in one run.

    python scripts/speed.py [--clips DIR] [--json FILE] [--seconds 5] [--rounds 3]

            published settings                 ours
  window    30 s                               true length
  numbers   encoder in float32                 encoder in bfloat16 where the device has it
  LM head   on every position                  on labelled positions
  layers    those of transformers              the same function, made for the CPU
  prompt    the system prompt once in every    what all rows of a batch begin with once, without
            row, with gradient                 gradient (common beginning read once)
  batches   12 pairs in random order           pairs of similar length, up to 2,048 tokens
  clips     once for each of four questions    once for all of them (questions_per_clip)
  words     silero and transformers'           the same, with the language found in the pass that
            `generate`, as they come           writes (language and text from one pass)
  encoder   for the language, for the words    once in each window
            and for the connector
  requests  one by one                         together
  memory    none                               clips that were heard, what the backbone has read

Everything else runs in our own code with all settings, with an untrained connector of the same
size, on the same clips, in the same run. Reading audio, spectrograms and voice activity detection
are included in the times; every engine has answered a question about another clip before. Rounds
alternate between settings; a figure is the median of rounds.

Every round of training runs in its own process and reports its peak memory above that of the loaded
weights. Answers have a fixed length. Without batching, answers are timed one by one, and the figure
holds for every batch size. Prints Markdown tables, for the CPU and for a GPU if there is one.
"""

import argparse
import json
import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from desta.environment import environment
from desta.errors import DestaError
from desta.model.config import ConnectorConfig, ModelConfig
from measure import table
from measure.clips import write_clips
from measure.rounds import PARTS, measure_device
from measure.settings import QUICK, Scale


def main() -> int:
    """Measure and print."""
    options = _parse()
    scale = QUICK if options.quick else Scale()
    if options.seconds:
        scale = replace(scale, seconds=tuple(options.seconds))
    connector = ConnectorConfig(num_query_tokens=options.query_tokens, num_layers=options.layers)
    config = ModelConfig(backbone=options.backbone, encoder=options.encoder, connector=connector)
    try:
        with tempfile.TemporaryDirectory() as folder:
            clips = {
                seconds: tuple(
                    write_clips(
                        options.clips,
                        Path(folder),
                        count=scale.batch_sizes[-1] + 1,  # one for the first question of engines
                        seconds=seconds,
                    )
                )
                for seconds in scale.seconds
            }
            devices = {
                device: measure_device(config, clips, scale, options.rounds, options.parts, device)
                for device in (("cpu", "cuda") if torch.cuda.is_available() else ("cpu",))
            }
    except DestaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    origin = f"recordings of {options.clips}" if options.clips else "synthetic voices"
    facts = environment() | {
        "command": shlex.join(["python", *sys.argv]),
        "model": f"{config.encoder} + Q-Former of {connector.num_layers} layers, "
        f"{connector.num_query_tokens} query tokens + {config.backbone}",
        "threads": torch.get_num_threads(),
        "clips": f"{scale.batch_sizes[-1]} of each length, {origin}",
        "tokens of an answer": scale.new_tokens,
        "rounds": options.rounds,
    }
    for device, figures in devices.items():
        print(table.report(device, figures), end="\n\n")
        for name, value in figures["facts"].items():
            print(f"- {name}: {value}")
        print()
    if "cuda" not in devices:
        print("No GPU was measured: PyTorch finds no CUDA device here.\n")
    for name, value in facts.items():
        print(f"- {name}: {value}")
    if options.json:
        text = json.dumps({"facts": facts, "devices": devices}, indent=1)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clips", type=Path, metavar="DIR", help="recordings; else synthetic")
    parser.add_argument("--backbone", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--encoder", default="openai/whisper-base")
    parser.add_argument("--query-tokens", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2, help="of the Q-Former")
    parser.add_argument("--seconds", type=int, nargs="+", help="lengths of the clips")
    parser.add_argument("--rounds", type=int, default=3, help="of all settings in turn")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--quick", action="store_true", help="very little, as a test")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds is too small: give 1 or more")
    if options.seconds and not all(1 <= seconds <= 30 for seconds in options.seconds):
        parser.error("--seconds is out of range: give lengths from 1 to 30")
    return options


if __name__ == "__main__":
    sys.exit(main())
