"""Answer, journal, score: the loop that all benchmarks share.

An evaluation is a folder:

    plan.json         recipe, systems and the order of the items; another plan in the same folder
                      is an error
    environment.json  command, commit and versions of the first call
    results.jsonl     one result a line (`Result`), in the order of the plan; also the journal.
                      Each of several processes writes results-K-of-N.jsonl, which `merge` joins
    scores.json       computed from plan and results alone (`scores.py`)
"""

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from desta import audio
from desta.config import to_plain
from desta.environment import environment
from desta.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DestaError,
    MissingExtraError,
    UnavailableError,
)
from desta.evaluation.base import Benchmark, Item, Result
from desta.evaluation.journal import Journal, Shard
from desta.evaluation.published_files import check_unique
from desta.evaluation.recipe import EvalRecipe, build_eval_recipe, resolve_recipe
from desta.evaluation.scores import PLAN, read_plan, score_folder
from desta.evaluation.systems import (
    MISSING,
    Models,
    System,
    SystemAnswer,
    make_systems,
    missing_clips,
)
from desta.files import write_json
from desta.isolation import error_of, in_halves
from desta.model.backbone.sampling import Sampling
from desta.paths import check_folder, check_output
from desta.progress import progress_bar
from desta.renamed import with_data_section

log = logging.getLogger(__name__)

_FATAL = (CheckpointError, ConfigError, MissingExtraError, UnavailableError)
"""Errors that always end the run."""

SystemBatch = tuple[str, Sequence[Item]]
"""Name of a system, and the items that it answers at once."""


def evaluate(
    benchmark: Benchmark,
    recipe: EvalRecipe[Any],
    load: Callable[[EvalRecipe[Any]], Models],
    out: Path,
    *,
    weights: str | None = None,
    shard: Shard | None = None,
    allow_missing: bool = False,
    retry: bool = False,
) -> dict[str, Any] | None:
    """Evaluate the systems of a recipe on a benchmark, and write plan, results and scores.

    The same call continues after an interruption, and gives the same bytes as without one.

    Args:
        benchmark: the benchmark.
        recipe: its recipe.
        load: loads the models of the recipe; called if any item is left to answer.
        out: folder for plan, results and scores; made if missing.
        weights: fingerprint of the model's weights; None where no model is used.
        shard: part of the batches to answer; None: all.
        allow_missing: score systems also where some items have no answer, by the others.
        retry: first retry the items that an earlier call got no answer to.

    Returns:
        The content of `scores.json`; None where `shard` is a part of a run.

    Raises:
        ConfigError: the recipe does not fit the benchmark, or `out` holds another evaluation.
        UnavailableError: an endpoint does not answer; the same call continues later.
        DataError: the questions cannot be read, audio does not reach a system, or too many items
            have no answer.
    """
    check_folder(out)
    shard = shard or Shard()
    check_output(out / shard.file)
    recipe = resolve_recipe(recipe, benchmark)
    items = _in_order(recipe.draw(benchmark.load(recipe.data)), out / PLAN)
    if not items:
        raise DataError(f"{benchmark.name}: there is nothing to ask", fix="check data and limit")
    check_unique((item.id for item in items), benchmark.name)
    _write_plan(benchmark, recipe, items, weights, out)

    def systems() -> list[System]:
        transcribe = bool(recipe.transcribe)
        return make_systems(recipe.systems, items, load(recipe), benchmark, transcribe=transcribe)

    mine = [batch for number, batch in enumerate(_batches(recipe, items)) if shard.takes(number)]
    journal = out / shard.file
    sampling = Sampling(max_new_tokens=recipe.max_new_tokens or benchmark.max_new_tokens)
    answer_all(benchmark, mine, systems, items, sampling, journal, retry=retry)
    if shard.count > 1:
        journal.touch()  # with more shards than batches, some have nothing to answer
        return None
    scores = score_folder(out, allow_missing=allow_missing)
    if not allow_missing:
        _check_share(scores, recipe, len(items))
    return scores


def answer_all(
    benchmark: Benchmark,
    batches: Sequence[SystemBatch],
    systems: Callable[[], Sequence[System]],
    items: Sequence[Item],
    sampling: Sampling,
    path: Path,
    *,
    retry: bool = False,
) -> None:
    """Append the results that the journal does not hold yet.

    Batches are the same whether interrupted or not; of one that was cut off, only the items whose
    results are lost are asked again.

    Args:
        benchmark: scores the answers.
        batches: what this process answers, in the order of the plan.
        systems: returns who answers; called once, if anything is left to ask.
        items: all of the run, among which two clips are looked for to compare.
        sampling: how answers are chosen.
        path: of the journal.
        retry: first ask again where it holds no answer, and put these results in their places.

    Raises:
        DataError: the journal holds other results, another process writes it, or audio does not
            reach a system.
    """
    expected = [(name, item.id) for name, batch in batches for item in batch]
    made: dict[str, System] = {}
    checked: set[str] = set()

    def ask(
        todo: Sequence[SystemBatch], add: Callable[[Iterable[Result]], None], done: int
    ) -> None:
        if todo and not made:
            made.update({system.name: system for system in systems()})
        total = done + sum(len(batch) for _, batch in todo)
        with progress_bar("answer", total=total, done=done) as advance:
            for name, batch in todo:
                if name not in checked:
                    made[name].check(items)
                    checked.add(name)
                add(_answer(benchmark, made[name], batch, sampling))
                advance(name, items=len(batch))

    with Journal(path, expected) as journal:
        skipped = journal.skipped
        if retry and skipped:
            ask(_only(skipped, batches), journal.append_again, 0)
            journal.replace_skipped()
        elif skipped:
            log.info("%d have no answer; --retry asks them again", len(skipped))
        done = journal.num_results
        ask(_only(set(expected[done:]), batches), journal.append, done)


def _batches(recipe: EvalRecipe[Any], items: Sequence[Item]) -> Iterator[SystemBatch]:
    for system in recipe.systems:
        for start in range(0, len(items), recipe.batch_size):
            yield system, items[start : start + recipe.batch_size]


def _only(wanted: Collection[tuple[str, str]], batches: Sequence[SystemBatch]) -> list[SystemBatch]:
    """Return what is to be asked of batches."""
    chosen = (
        (name, [item for item in batch if (name, item.id) in wanted]) for name, batch in batches
    )
    return [(name, batch) for name, batch in chosen if batch]


def _answer(
    benchmark: Benchmark, system: System, items: Sequence[Item], sampling: Sampling
) -> Iterator[Result]:
    """Answer a batch; if an item of it fails, answer halves, so that only this one is lost."""
    there = [i for i in items if not (system.needs_audio and missing_clips(i))]
    results = {r.id: r for r in _try(benchmark, system, there, sampling)}
    for item in items:
        yield results.get(item.id) or _skipped(system, item, MISSING)


def _try(
    benchmark: Benchmark, system: System, items: Sequence[Item], sampling: Sampling
) -> list[Result]:
    if not items:
        return []
    answers: list[SystemAnswer | DestaError] = in_halves(
        lambda these: system.answer(these, sampling),
        items,
        alone=lambda item, error: error_of(error, item.id),
        fatal=_FATAL,
    )
    return [
        _skipped(system, item, _reason(said, item))
        if isinstance(said, DestaError)
        else Result(
            item=item,
            score=benchmark.score(item, said.output, ()),
            system=system.name,
            prompt=tuple(message.to_json() for message in said.prompt),
            output=said.output,
        )
        for item, said in zip(items, answers, strict=True)
    ]


def _skipped(system: System, item: Item, reason: str) -> Result:
    return Result(item=item, system=system.name, output=None, skipped=reason)


def _reason(error: DestaError, item: Item) -> str:
    """Return why an item failed; the path of its clip is no part of a reason."""
    reason = error.reason
    for ref in item.clips:
        reason = reason.replace(str(ref.audio), "CLIP")
    return reason


def _in_order(items: Sequence[Item], path: Path) -> list[Item]:
    """Return items as their plan orders them; where there is none, by length.

    A clip that was mended since has another length: its place stays.
    """
    order = read_plan(path).get("order") if path.exists() else None
    known = {item.id: item for item in items}
    if order is None or len(known) != len(items) or set(order) != set(known):
        return _by_length(items)
    return [known[id] for id in order]


def _by_length(items: Sequence[Item]) -> list[Item]:
    """Sort by seconds of audio, then by words: a batch then needs little padding."""

    def key(item: Item) -> tuple[float, int, str]:
        return _seconds(item), len(item.question), item.id

    return sorted(items, key=key)


def _seconds(item: Item) -> float:
    try:
        return sum(audio.stated_duration(ref.audio) for ref in item.clips)
    except Exception:  # missing or broken: what cannot be heard has no length
        return 0.0


def _check_share(scores: dict[str, Any], recipe: EvalRecipe[Any], num_items: int) -> None:
    for report in scores["systems"]:
        if report["num_skipped"] > recipe.max_skipped_share * num_items:
            first = next(r for r in scores["skipped"] if r["system"] == report["system"])
            raise DataError(
                f"{report['num_skipped']} of {num_items} questions have no answer of "
                f'"{report["system"]}", for example {first["example"]}: {first["reason"]}',
                fix="mend them and add --retry, or --allow-missing to score the others",
            )


def _write_plan(
    benchmark: Benchmark,
    recipe: EvalRecipe[Any],
    items: Sequence[Item],
    weights: str | None,
    out: Path,
) -> None:
    """Write all that the results depend on; weights, items and prompts by their hashes."""
    plan = {
        "benchmark": benchmark.name,
        "version": benchmark.version(items),
        "weights": weights,
        "systems": list(recipe.systems),
        "num_items": len(items),
        "batch_size": recipe.batch_size,
        "items": _digest([(item.id, item.target, item.choices) for item in items]),
        "prompts": _digest([item.messages for item in items]),
        "config": to_plain(recipe),
    }
    path = out / PLAN
    if path.exists():
        old = read_plan(path)
        old["config"] = current_config(old["config"], benchmark)
        changed = sorted(key for key in plan if old.get(key) != plan[key])
        if changed:
            raise ConfigError(
                f"{out} holds another evaluation (changed since: {', '.join(changed)})",
                fix=f"give another folder, or delete {out}",
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "environment.json", environment())
    write_json(path, {**plan, "order": [item.id for item in items]})


def current_config(tree: dict[str, Any], benchmark: Benchmark) -> dict[str, Any]:
    """Return the recipe of a plan, perhaps of an earlier version, in its present form."""
    with suppress(ConfigError):  # a broken one differs from every recipe
        tree = with_data_section({"device": "cpu"} | tree, where=None)  # once the only device
        recipe = build_eval_recipe(tree, benchmark.data, where=PLAN)
        tree = to_plain(resolve_recipe(recipe, benchmark))
    return tree


def _digest(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(to_plain(values)).encode()).hexdigest()
