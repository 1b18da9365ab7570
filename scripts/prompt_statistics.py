"""Print statistics of the prompt pools: counts, kinds, needs, lengths and near-duplicates.

    python scripts/prompt_statistics.py [--pools DIR] [--json] [--show 10]

Near-duplicates are pairs whose shingles have a Jaccard similarity above 0.8. The comparison is
exact, not estimated by MinHash: only pairs that share a rare shingle can be so similar (prefix
filtering, Chaudhuri et al. 2006), and those are few enough to compare them all.
"""

import argparse
import json
import math
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from desta.construction.prompts import (
    MULTI_KINDS,
    PROMPT_KINDS,
    PoolName,
    Prompt,
    load_pool,
    load_systems,
)
from desta.errors import DestaError
from desta.records import DOMAINS

SIMILARITY = 0.8
"""Similarity above which two prompts are near-duplicates."""

NAMES: tuple[PoolName, ...] = (*DOMAINS, "multi")

Shingles = frozenset[str]


def words(text: str) -> list[str]:
    """Return the words, case folded."""
    return re.findall(r"[^\W_]+", text.casefold())


def word_shingles(text: str) -> Shingles:
    """Return the runs of three words; a shorter prompt is one shingle."""
    found = words(text)
    return frozenset(" ".join(found[i : i + 3]) for i in range(max(len(found) - 2, 1)))


def character_shingles(text: str) -> Shingles:
    """Return the runs of five characters, spaces between words included."""
    line = " ".join(words(text))
    return frozenset(line[i : i + 5] for i in range(max(len(line) - 4, 1)))


SHINGLES: dict[str, Callable[[str], Shingles]] = {
    "3 words": word_shingles,
    "5 characters": character_shingles,
}


def near_duplicates(
    texts: Sequence[str], shingles: Callable[[str], Shingles], *, above: float = SIMILARITY
) -> list[tuple[str, str]]:
    """Return all pairs of texts with a Jaccard similarity above a threshold."""
    sets = [shingles(text) for text in texts]
    frequency = Counter(shingle for found in sets for shingle in found)
    by_shingle: dict[str, list[int]] = {}
    pairs = []
    for index, found in enumerate(sets):
        rarest_first = sorted(found, key=lambda shingle: (frequency[shingle], shingle))
        prefix = rarest_first[: len(found) - math.ceil(above * len(found)) + 1]
        candidates = {other for shingle in prefix for other in by_shingle.get(shingle, ())}
        for other in sorted(candidates):
            if len(found & sets[other]) > above * len(found | sets[other]):
                pairs.append((texts[other], texts[index]))
        for shingle in prefix:
            by_shingle.setdefault(shingle, []).append(index)
    return pairs


def near_duplicate_share(pairs: Iterable[tuple[str, str]], num_texts: int) -> float:
    """Return an upper bound of the share of texts to remove so that no pair is left."""
    return len({second for _, second in pairs}) / num_texts


def pool_statistics(pool: Sequence[Prompt]) -> dict[str, Any]:
    """Count the prompts of a pool by kind and need, and measure their lengths in words."""
    lengths = [len(words(prompt.text)) for prompt in pool]
    kinds = Counter(prompt.kind for prompt in pool)
    asked = Counter(name for prompt in pool if prompt.kind == "ask" for name in prompt.needs)
    return {
        "prompts": len(pool),
        "kinds": {kind: kinds[kind] for kind in (*PROMPT_KINDS, *MULTI_KINDS) if kinds[kind]},
        "need nothing": sum(not p.needs and not p.needs_transcription for p in pool),
        "need words": sum(p.needs_transcription for p in pool),
        "asked for": dict(asked.most_common()),
        "words": {
            "shortest": min(lengths),
            "median": statistics.median(lengths),
            "longest": max(lengths),
        },
        "first words": len({tuple(words(prompt.text)[:2]) for prompt in pool}),
    }


def main() -> int:
    """Print the statistics."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pools", type=Path, metavar="DIR", help="pools of your own")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="near-duplicates to print")
    options = parser.parse_args()
    try:
        pools = {name: load_pool(name, options.pools) for name in NAMES}
        systems = load_systems(options.pools)
    except DestaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    texts = [prompt.text for pool in pools.values() for prompt in pool]
    pairs = {name: near_duplicates(texts, shingles) for name, shingles in SHINGLES.items()}
    found: dict[str, Any] = {name: pool_statistics(pool) for name, pool in pools.items()}
    found["all"] = {
        "prompts": len(texts),
        "distinct": len({" ".join(words(text)) for text in texts}),
        "near-duplicates": {n: near_duplicate_share(p, len(texts)) for n, p in pairs.items()},
        "system prompts": len(systems),
    }
    print(json.dumps(found, indent=2) if options.json else table(found))
    for name, some in pairs.items():
        for first, second in some[: options.show]:
            print(f"{name}: {first} | {second}")
    return 0


def table(found: dict[str, Any]) -> str:
    """Return the statistics as readable text."""
    lines = []
    for name in NAMES:
        pool = found[name]
        length = pool["words"]
        lines += [
            f"{name}: {pool['prompts']} prompts, {length['shortest']} to {length['longest']} "
            f"words (median {length['median']:g}), {pool['first words']} different beginnings",
            "  kinds      " + ", ".join(f"{kind} {n}" for kind, n in pool["kinds"].items()),
            f"  needs      nothing {pool['need nothing']}, words {pool['need words']}",
        ]
        if asked := pool["asked for"]:
            lines.append("  asked for  " + ", ".join(f"{what} {n}" for what, n in asked.items()))
    total = found["all"]
    shares = ", ".join(f"{n}: {share:.2%}" for n, share in total["near-duplicates"].items())
    return "\n".join(
        [
            *lines,
            f"all: {total['prompts']} prompts, {total['distinct']} distinct, "
            f"{total['system prompts']} system prompts",
            f"  near-duplicates (Jaccard above {SIMILARITY}) {shares}",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
