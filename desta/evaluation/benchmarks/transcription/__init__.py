"""Word and character error rates of transcriptions, on any corpus that says what is spoken."""

import math

from desta.evaluation.base import About, Benchmark, Item, PublishedForm
from desta.evaluation.benchmarks.transcription import files, score
from desta.evaluation.recipe import BenchmarkFiles


def _scale(item: Item, metric: str) -> tuple[float, float]:
    """Return the worst and the best rate: there may be more errors than words."""
    return math.inf, 0.0


BENCHMARK = Benchmark(
    name="transcription",
    about=About(
        title="what is said, word by word",
        data="a clips.jsonl of `desta describe`; the root of its clips as `data.audio`",
        metrics="word error rate, also by rules of the script; character error rate",
        published="JSON Lines, tables, or pairs of texts, of what was said and written",
        licence="that of the corpus",
        source="your own corpora",
        example="desta eval transcription --data clips.jsonl --model MODEL --set data.audio=CORPUS",
    ),
    data=BenchmarkFiles,
    load=score.load,
    score=score.score,
    aggregate=score.aggregate,
    max_new_tokens=512,
    official=(score.WER,),
    titles=score.TITLES,
    lower_is_better=True,
    scale=_scale,
    published=PublishedForm(read=files.read_published, find_references=files.find_references),
)
