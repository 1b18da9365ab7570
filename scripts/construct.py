"""Measure construction: rows per second, memory over time, overhead of the pipeline.

    python scripts/construct.py [--rows 100000 1000000] [--json FILE]
    python scripts/construct.py --clips CLIPS.jsonl --root DIR --backbone ID --rows N

Without a backbone: synthetic clips of all domains and the scripted engine, so that everything
except the engine is measured; writing the clips is not timed. `survey` is the first pass over the
clips, `build` the rest, `again` a call with other filters, which rebuilds the data set from its
journal.

With a backbone: responses per second in batches, and in a loop that calls `generate` of
transformers once per request (for --one-by-one of them), in the same process.

Rows per CPU second do not depend on the load of the machine. Memory is the resident memory of the
process, in MiB, at each twentieth of the rows.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.pipeline import construct
from desta.construction.plan import Planner
from desta.construction.survey import survey_clips
from desta.generators.base import Outcome
from desta.generators.scripted import ScriptedGenerator
from desta.generators.timed import TimedGenerator
from desta.model.backbone.sampling import Sampling
from desta.records import DOMAINS, Clip, Segment

PROMPTS_PER_CLIP = 2
LANGUAGES = ("English", "French", "German", "Spanish", "Mandarin", "Russian", "Greek", "Hindi")
EMOTIONS = ("Happy", "Sad", "Angry", "Neutral", "Surprised", "Afraid", "Disgusted")
WORDS = ("the", "a", "calm", "voice", "says", "that", "it", "was", "late", "nobody", "had", "come")
FILTERS = ("empty", "cut_off", "repeats_itself", "talks_about_text", "states_other_value")


class Spent:
    """Seconds of a generator, and the memory of the process about twenty times on the way."""

    def __init__(self, num_rows: int) -> None:
        self._step = max(num_rows // 20, 1)
        self.seconds = 0.0
        self.num_answers = 0
        self.mebibytes: list[int] = []

    def add(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Add a batch."""
        self.seconds += seconds
        before, self.num_answers = self.num_answers, self.num_answers + len(outcomes)
        if before // self._step != self.num_answers // self._step:
            self.mebibytes.append(resident())


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000], help="pairs to construct")
    parser.add_argument("--clips", type=Path, help="clips.jsonl for a real backbone")
    parser.add_argument("--root", type=Path, help="folder of its recordings")
    parser.add_argument("--backbone", help="Hub id, zoo name, directory or GGUF file")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--one-by-one", type=int, default=64, help="requests of the slow loop")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="construct-", dir=options.out))
    try:
        if options.backbone:
            figures = [measure_backbone(folder, options)]
        else:
            figures = [measure_scripted(folder / str(rows), rows) for rows in options.rows]
    finally:
        shutil.rmtree(folder)
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json:
        options.json.write_text(f"{text}\n", encoding="utf-8")


def measure_scripted(folder: Path, num_rows: int) -> dict[str, Any]:
    """Construct a data set of synthetic clips with the scripted engine, twice."""
    folder.mkdir()
    path = folder / "clips.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for clip in synthetic_clips(num_rows // PROMPTS_PER_CLIP):
            file.write(json.dumps(clip.to_json()) + "\n")
    config = ConstructConfig(
        clips=(ClipsConfig(path=path, root=folder, prompts_per_clip=PROMPTS_PER_CLIP),),
        backbone="scripted",
        sampling=Sampling(temperature=0.05),
        systems="pool",
        withhold=0.1,
        unknown_share=0.05,
        filters=FILTERS,
        max_dropped_share=1.0,
    )
    figures: dict[str, Any] = {"rows": num_rows, "MiB before": resident()}
    began = time.perf_counter()
    survey_clips(config)
    figures["survey seconds"] = round(time.perf_counter() - began, 2)

    engine = Spent(num_rows)
    generator = TimedGenerator(ScriptedGenerator(speak), engine.add)
    began, spent = time.perf_counter(), time.process_time()
    manifest = construct(config, folder / "out", generator)
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    figures |= {
        "seconds": round(seconds, 2),
        "rows per second": round(num_rows / seconds),
        "rows per CPU second": round(num_rows / spent),
        "engine seconds": round(engine.seconds, 2),
        "kept": manifest.num_kept,
        "dropped": manifest.num_dropped,
        "MiB": engine.mebibytes,
        "journal MiB": (folder / "out" / "responses.sqlite").stat().st_size >> 20,
    }
    spent = time.process_time()
    construct(replace(config, filters=FILTERS[:2]), folder / "out", generator)
    figures["rows per CPU second again"] = round(num_rows / (time.process_time() - spent))
    shutil.rmtree(folder)
    return figures


def measure_backbone(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Construct a data set with a real backbone; also run some of its requests one by one."""
    from desta.generators.local import LocalGenerator
    from desta.model.backbone.load import load_backbone, revision
    from desta.model.hub.load import Part

    [num_rows] = options.rows
    path = folder / "clips.jsonl"
    with options.clips.open("rb") as source, path.open("wb") as file:
        file.writelines(line for line, _ in zip(source, range(num_rows), strict=False))
    config = ConstructConfig(
        clips=(ClipsConfig(path=path, root=options.root),),
        backbone=options.backbone,
        sampling=Sampling(temperature=0.05, max_new_tokens=options.max_new_tokens),
        filters=FILTERS,
        max_dropped_share=1.0,
        batch_size=options.batch_size,
    )
    part = Part.find(config.backbone)
    model, tokenizer = load_backbone(part, config)
    local = LocalGenerator(model, tokenizer, id=part.place, revision=revision(part, config))
    engine = Spent(num_rows)
    generator = TimedGenerator(local, engine.add)
    began = time.perf_counter()
    manifest = construct(config, folder / "out", generator)
    seconds = time.perf_counter() - began
    alone = one_by_one(config, local, model, tokenizer, options.one_by_one)
    batched = engine.num_answers / seconds
    return {
        "backbone": options.backbone,
        "responses": engine.num_answers,
        "kept": manifest.num_kept,
        "seconds": round(seconds, 2),
        "engine seconds": round(engine.seconds, 2),
        "overhead": round(seconds / engine.seconds - 1, 4),
        "responses per second": round(batched, 2),
        "responses per second one by one": round(alone, 2),
        "times faster": round(batched / alone, 2),
        "MiB": engine.mebibytes,
    }


def one_by_one(
    config: ConstructConfig, local: Any, model: Any, tokenizer: Any, num_requests: int
) -> float:
    """Return responses per second of a plain loop over `generate`, for requests of all lengths."""
    import torch

    jobs = [job for _, jobs in Planner(config).plan(survey_clips(config)) for job in jobs]
    drawn = random.Random(0).sample(jobs, min(num_requests, len(jobs)))
    began = time.perf_counter()
    for job in drawn:
        ids = torch.tensor([local.encode(job.request)], device=model.device)
        answer = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=config.sampling.temperature,
            top_k=0,
            max_new_tokens=config.sampling.max_new_tokens,
            pad_token_id=tokenizer.eos_token_id,
        )
        tokenizer.decode(answer[0, ids.shape[1] :], skip_special_tokens=True)
    return len(drawn) / (time.perf_counter() - began)


def synthetic_clips(count: int) -> Iterator[Clip]:
    """Yield clips like those of corpora; half of them are speech with text and five attributes."""
    chance = random.Random(0)
    for number in range(count):
        domain = DOMAINS[0] if number % 2 else DOMAINS[number // 2 % 3]
        duration = chance.uniform(1, 20)
        words = " ".join(chance.choices(WORDS, k=12))
        spoken = {
            "Gender": chance.choice(("Female", "Male")),
            "Age": chance.choice(("Teenager", "Twenties", "Thirties", "Fifties")),
            "Emotion": chance.choice(EMOTIONS),
            "Language": chance.choice(LANGUAGES),
            "Speaking speed": chance.choice(("Slow", "Normal", "Fast")),
        }
        yield Clip(
            id=f"synthetic/{number}",
            source=f"corpus-{number % 5}",
            audio=f"audio/{number}.wav",
            duration=duration,
            domain=domain,
            segments=(
                (Segment(start=0.0, end=duration, text=f"{words} {number}"),)
                if domain == "speech"
                else ()
            ),
            attributes=spoken
            if domain == "speech"
            else {"Sound class" if domain == "sound" else "Instrument": f"Thing {number % 50}"},
        )


def speak(content: str) -> str:
    """Return a response of about twenty words, some of which the filters drop."""
    language = LANGUAGES[len(content) % len(LANGUAGES)]
    end = " ".join(content[-60:].split())
    return f"What one can hear is somebody who might well speak {language}, and so: {end}"


def resident() -> int:
    """Return the resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 >> 20


if __name__ == "__main__":
    main()
