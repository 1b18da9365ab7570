"""Measure how many responses per second the filters check on one core.

    python scripts/filters.py --rows 20000

Synthetic clips with the attributes of speech corpora, prompts of this package's pool, and responses
of 5 to 90 words that name the clip's values. All filters, duplicates and the faithfulness tally
run, as in `desta construct`; most responses pass all filters, so few checks end early.
"""

import argparse
import random
import time
from collections import Counter

from desta.construction.attribute_values import closed_sets
from desta.construction.duplicates import DuplicateFilter
from desta.construction.faithfulness import Faithfulness
from desta.construction.filters import FILTERS, Candidate, first_failed
from desta.construction.prompts import load_pool, suits
from desta.generators.base import Completion
from desta.records import Clip, Segment
from desta.sources.glossary import EMOTIONS
from desta.sources.languages import LANGUAGES

TEXT = """the voice sounds calm and clear with a steady pace while some quiet noise can be heard in
the background as if this was recorded inside a small room near an open window during one long
afternoon where people talk about their plans for another day"""


def make(rows: int) -> list[Candidate]:
    """Create candidates, deterministically."""
    rng = random.Random(0)
    words = TEXT.split()
    languages = sorted(set(LANGUAGES.values()))
    clips = [
        Clip(
            id=str(number),
            source="synthetic",
            audio=f"{number}.wav",
            duration=rng.uniform(1, 20),
            domain="speech",
            segments=(Segment(start=0.0, end=1.0, text=" ".join(rng.choices(words, k=12))),),
            attributes={
                "Language": rng.choice(languages),
                "Gender": rng.choice(("Female", "Male")),
                "Emotion": rng.choice(list(EMOTIONS)),
            },
        )
        for number in range(rows)
    ]
    sets = closed_sets(clips)
    pool = [prompt for prompt in load_pool("speech") if suits(prompt, clips[0])]
    candidates = []
    for clip in clips:
        sex = "woman" if clip.attributes["Gender"] == "Female" else "man"
        facts = f"A {sex} speaks {clip.attributes['Language']}, is {clip.attributes['Emotion']}: "
        length = rng.randrange(90)
        text = facts + " ".join(rng.choices(words, k=length)) + "."
        candidates.append(
            Candidate(
                clip=clip,
                prompt=rng.choice(pool),
                completion=Completion(text=text, num_tokens=length, finished=True),
                closed_sets=sets,
            )
        )
    return candidates


def main() -> None:
    """Time each filter alone, then all of them together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    rows = parser.parse_args().rows
    for candidate in make(100):
        first_failed(candidate, list(FILTERS))  # loads the language model
    candidates = make(rows)
    for name, each in FILTERS.items():
        start = time.process_time()
        for candidate in candidates:
            each.drops(candidate)
        print(f"{name:24}{(time.process_time() - start) / rows * 1e6:8.1f} µs")
    duplicates, faithfulness = DuplicateFilter(5), Faithfulness()
    faults: Counter[str | None] = Counter()
    candidates = make(rows)  # nothing cached in them
    start = time.process_time()
    for candidate in candidates:
        fault = first_failed(candidate, list(FILTERS)) or duplicates.fault(candidate)
        faithfulness.add(candidate, kept=fault is None)
        faults[fault] += 1
    seconds = time.process_time() - start
    print(f"together {rows / seconds:,.0f} responses/s of CPU time; {faults[None]} kept, {faults}")


if __name__ == "__main__":
    main()
