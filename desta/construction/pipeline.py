"""Construction: clips -> seed descriptions -> prompts -> responses -> shards.

All that will be asked is planned first, and follows from the recipe alone: which clips, which
prompts, which batches. Every finished batch goes to a journal. So `kill -9` at any moment, then
the same call, gives the bytes of an uninterrupted run.
"""

import hashlib
import itertools
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from desta.config import to_plain
from desta.construction.config import ConstructConfig
from desta.construction.filters import Candidate, find_fault
from desta.construction.plan import Job, Plan, make_plan
from desta.errors import ConfigError, DataError
from desta.llm.base import Completion, TextGenerator
from desta.progress import progress_bar
from desta.records import AudioTextPair
from desta.shards import Dropped, Journal, Manifest, verify, write_atomic, write_shards

JOURNAL = "construct.journal"
DROPPED = "dropped.ndjson"
"""Every dropped response with its reason. Not `.jsonl`: that would make it a shard."""


def construct(config: ConstructConfig, out: Path, generator: TextGenerator) -> Manifest:
    """Make a data set, or continue where an earlier call was interrupted.

    Beside the shards, `dropped.ndjson` holds every dropped response with its reason.

    Args:
        config: the recipe.
        out: directory of the data set; made if it is missing.
        generator: the loaded backbone.

    Returns:
        The manifest, with the number of kept pairs and the table of dropped items.

    Raises:
        ConfigError: the directory holds the work of another recipe.
        DataError: no clips, or more was dropped than the recipe allows. The journal then stays:
            with other filters the same responses are judged again without being generated again.
    """
    plan = make_plan(config)
    generation, recipe = _fingerprints(config, plan, generator)
    out.mkdir(parents=True, exist_ok=True)
    if finished := _finished(out, recipe):
        return finished

    completions = _generate(config, plan.jobs, generator, out, generation)
    kept, dropped = _judge(config, plan, completions, out)
    _check_share(config, dropped, num_kept=len(kept), out=out)

    for path in out.glob("audio-*.jsonl"):
        path.unlink()  # of an interrupted call whose shards had another size
    unknown = {job.id for job in plan.jobs if job.unknown}
    manifest = Manifest(
        backbone=generator.id,
        revision=generator.revision,
        prompt_pool=plan.prompt_pool,
        sampling=to_plain(config.sampling),
        recipe=recipe,
        shards=write_shards(out, kept, rows_per_shard=config.shard_rows),
        dropped=dropped,
        num_unknown=sum(pair.id in unknown for pair in kept),
    )
    manifest.write(out)
    (out / JOURNAL).unlink()
    return manifest


def _fingerprints(config: ConstructConfig, plan: Plan, generator: TextGenerator) -> tuple[str, str]:
    """Return the SHA-256 of all that decides the completions, and that of the whole data set."""
    engine = [generator.id, generator.revision, config.dtype, to_plain(config.sampling)]
    batches = [config.batch_size, config.seed]
    requests = ([m.to_json() for m in job.request] for job in plan.jobs)
    generation = _digest(itertools.chain(engine, batches, requests))

    judged = [generation, plan.prompt_pool, config.filters, config.shard_rows, plan.unsuited]
    values = ([*key, *sorted(found)] for key, found in sorted(plan.closed_sets.items()))
    pairs = (job.pair("").to_json() for job in plan.jobs)
    return generation, _digest(itertools.chain(judged, values, pairs))


def _digest(parts: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{json.dumps(part)}\n".encode())
    return digest.hexdigest()


def _finished(out: Path, recipe: str) -> Manifest | None:
    """Return the manifest if the data set is complete; refuse to touch anything else's shards."""
    manifest = Manifest.read(out)
    fix = f"give another directory, or delete {out}"
    if manifest is None:
        if not (out / JOURNAL).exists() and any(out.glob("*.jsonl")):
            raise ConfigError(f"{out} holds shards of another origin", fix=fix)
        return None
    if manifest.recipe != recipe:
        raise ConfigError(f"{out} holds the data set of another recipe", fix=fix)
    (out / JOURNAL).unlink(missing_ok=True)
    return verify(out)


def _generate(
    config: ConstructConfig,
    jobs: Sequence[Job],
    generator: TextGenerator,
    out: Path,
    fingerprint: str,
) -> list[Completion]:
    """Answer every job, in batches of similar length; return the completions in plan order."""
    completions: dict[int, Completion] = {}
    with Journal(out / JOURNAL, fingerprint) as journal:
        batches = _batches(jobs, generator, config.batch_size)
        for batch, records in zip(batches, journal.records, strict=False):
            completions.update(zip(batch, (Completion(**r) for r in records), strict=True))
        with progress_bar("constructing", total=len(jobs), done=len(completions)) as advance:
            for number in range(len(journal.records), len(batches)):
                answers = generator.complete(
                    [jobs[index].request for index in batches[number]],
                    config.sampling,
                    seeds=[
                        random.Random(f"{config.seed}/{jobs[index].id}").getrandbits(63)
                        for index in batches[number]
                    ],
                )
                journal.append([to_plain(answer) for answer in answers])
                completions.update(zip(batches[number], answers, strict=True))
                advance(items=len(answers))
    return [completions[index] for index in range(len(jobs))]


def _batches(jobs: Sequence[Job], generator: TextGenerator, size: int) -> list[list[int]]:
    """Return places of jobs, longest first: what does not fit into memory fails at once."""
    lengths = [generator.count_tokens(job.request) for job in jobs]
    order = sorted(range(len(jobs)), key=lambda index: (-lengths[index], index))
    return [order[start : start + size] for start in range(0, len(order), size)]


def _judge(
    config: ConstructConfig, plan: Plan, completions: Sequence[Completion], out: Path
) -> tuple[list[AudioTextPair], dict[str, Dropped]]:
    """Filter the responses; write those that are dropped, and count them by reason."""
    kept: list[AudioTextPair] = []
    lines: list[str] = []
    reasons = {"no prompt suits the clip": list(plan.unsuited)}
    for job, completion in zip(plan.jobs, completions, strict=True):
        candidate = Candidate(
            clip=job.clip,
            prompt=job.prompt,
            completion=completion,
            closed_sets=plan.closed_sets,
        )
        pair = job.pair(completion.text)
        fault = find_fault(candidate, config.filters)
        if fault is None:
            kept.append(pair)
        else:
            reasons.setdefault(fault, []).append(job.id)
            lines.append(json.dumps({"reason": fault, **pair.to_json()}, ensure_ascii=False))
    write_atomic(out / DROPPED, "".join(f"{line}\n" for line in lines).encode())
    counts = {
        reason: Dropped(count=len(ids), example=ids[0]) for reason, ids in reasons.items() if ids
    }
    return kept, counts


def _check_share(
    config: ConstructConfig, dropped: Mapping[str, Dropped], *, num_kept: int, out: Path
) -> None:
    num_dropped = sum(d.count for d in dropped.values())
    if num_kept and num_dropped <= config.max_dropped_share * (num_kept + num_dropped):
        return
    table = ", ".join(f"{reason}: {d.count} (first: {d.example})" for reason, d in dropped.items())
    raise DataError(
        f"{num_dropped} of {num_kept + num_dropped} responses were dropped, more than "
        f"max_dropped_share = {config.max_dropped_share}: {table}",
        fix=f"read them in {out / DROPPED}; then change prompts, description or filters in the "
        "recipe, or raise max_dropped_share",
    )
