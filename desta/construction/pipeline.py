"""Construction: clips -> seed descriptions -> prompts -> responses -> shards.

The clips are read twice: first for facts about all of them (`survey_clips`), then to make pairs, a
few thousand clips at a time, so that memory does not grow with the data set. Every response is
stored in a journal first. So `kill -9` at any moment, then the same call, gives the bytes of an
uninterrupted run, and a changed recipe only sends new requests to the backbone.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desta.config import to_plain
from desta.construction.code import code_hash
from desta.construction.config import ConstructConfig
from desta.construction.filtering import ALONE, UNSUITED, ResponseFilter
from desta.construction.filters import FILTERS
from desta.construction.journal import ResponseJournal
from desta.construction.plan import Job, Planner
from desta.construction.regenerate import RowPlan, plan_rows
from desta.construction.requests import BatchedGenerator, RequestPlan, Responder
from desta.construction.staging import BUILDING, Building, publish
from desta.construction.survey import Survey, survey_clips
from desta.errors import ConfigError, DataError
from desta.files import sha256
from desta.generators.base import GeneratorTraits, Refusal, TextGenerator
from desta.paths import check_folder
from desta.progress import progress_bar
from desta.shards import RESPONSES, Manifest, shard_paths, verify_shards

log = logging.getLogger(__name__)

ResponderFactory = Callable[[RequestPlan[Any], ResponseJournal], Responder]
"""Creates the responder for a plan of requests; earlier responses are in the journal."""


def construct(
    config: ConstructConfig, out: Path, generator: TextGenerator, *, retry: bool = False
) -> Manifest:
    """Construct a data set, continue an interrupted call, or update the data set.

    Beside the shards, `dropped.ndjson` holds every dropped response with its reason, and
    `responses.sqlite` every response. A finished data set of another recipe is replaced as a whole;
    only new requests are sent to the backbone.

    Args:
        config: the recipe.
        out: directory of the data set, created if missing.
        generator: the loaded backbone.
        retry: retry refused requests, also if the data set is finished.

    Returns:
        The manifest, with the number of kept pairs and the table of dropped items.

    Raises:
        ConfigError: the directory holds shards of another origin, without their journal.
        DataError: no clips, a damaged journal, a full disk, or more was dropped than the recipe
            allows. The journal is kept, so that other filters can be tried on the same responses.
    """

    def make_responder(plan: RequestPlan[Any], journal: ResponseJournal) -> Responder:
        return BatchedGenerator(config, generator, journal)

    return construct_with(config, out, generator, make_responder, retry=retry)


def construct_with(
    config: ConstructConfig,
    out: Path,
    traits: GeneratorTraits,
    make_responder: ResponderFactory,
    *,
    retry: bool = False,
) -> Manifest:
    """Construct a data set with a remote generator; else like `construct`.

    Args:
        config: the recipe.
        out: directory of the data set, created if missing.
        traits: traits of the generator.
        make_responder: creates the responder; only called if the data set is not finished.
        retry: retry refused requests, also if the data set is finished.
    """
    check_folder(out)
    if config.regenerate is None:
        planner: Planner | RowPlan = Planner(config)
    elif config.regenerate.resolve() == out.resolve():
        raise ConfigError(f"{out} cannot be regenerated in place", fix="give another --out")
    else:
        planner = plan_rows(config.regenerate, config.prompts)
    origin = _Origin(
        recipe=recipe_hash(config, planner.prompt_pool, traits), code=code_hash(__name__)
    )
    out.mkdir(parents=True, exist_ok=True)
    if not retry and not (out / BUILDING).exists() and _is_finished(out, origin):
        return verify_shards(out)
    _check_origin(out, origin)
    for corpus in config.clips:
        if not corpus.root.is_dir():  # fine if the recordings are on another machine
            log.warning("there is no folder %s here; the pairs will name it", corpus.root)
    with ResponseJournal(out / RESPONSES) as journal:
        publish(out)
        again = journal.forget_refusals() if retry else 0
        if not again and _is_finished(out, origin):
            return verify_shards(out)
        return _build(
            config, planner, lambda plan: make_responder(plan, journal), out, traits, origin
        )


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """Hashes that determine the content of the shards."""

    recipe: str
    """SHA-256 of recipe, clips, prompts and backbone."""
    code: str
    """SHA-256 of the code that makes pairs of them."""


_ADDED = {"ask_evenly": False, "first_words": 8}
"""Key that recipes did not always have -> value that changes nothing, which is not hashed: data
sets from before the key keep their hash."""


def recipe_hash(config: ConstructConfig, prompt_pool: str, traits: GeneratorTraits) -> str:
    """Return the SHA-256 of everything but code that determines the content of the shards.

    The device of the backbone is not included; its number format is part of its revision.
    """
    recipe = {k: value for k, value in to_plain(config).items() if (k, value) not in _ADDED.items()}
    recipe["engine"].pop("device", None)
    for key, value in {"times": True, "only": None}.items():  # added later than the other keys
        if recipe["description"][key] == value:
            del recipe["description"][key]
    recipe["filters"] = [FILTERS[id].reason if id in FILTERS else id for id in config.filters]
    for name in ("max_dropped_share", "prompts"):
        del recipe[name]
    for corpus, plain in zip(config.clips, recipe["clips"], strict=True):
        plain["path"] = _sha256(corpus.path)
        if corpus.min_seconds == 0:  # added later
            del plain["min_seconds"]
    if config.regenerate is not None:
        recipe["regenerate"] = [_sha256(path) for path in shard_paths(config.regenerate)]
    parts = [traits.id, traits.revision, prompt_pool, recipe]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _sha256(clips: Path) -> str:
    if not clips.is_file():
        raise DataError(f"{clips} is not a file", fix="write it with `desta describe`")
    return sha256(clips)


def _is_finished(out: Path, origin: _Origin) -> bool:
    manifest = Manifest.read(out)
    return manifest is not None and (manifest.recipe, manifest.code) == (origin.recipe, origin.code)


def _check_origin(out: Path, origin: _Origin) -> None:
    """Refuse to replace shards without a journal; log why others are replaced."""
    manifest = Manifest.read(out)
    if (out / RESPONSES).exists():
        if manifest is not None and not _is_finished(out, origin):
            if not manifest.code:
                why = "it was made by an older desta, which did not note by what code"
            elif manifest.recipe == origin.recipe:
                why = "desta has changed since"
            else:
                why = "its recipe, clips or prompts have changed"
            log.warning("%s is built again from its stored responses: %s", out, why)
    elif manifest is not None and (manifest.recipe == origin.recipe or not manifest.code):
        raise ConfigError(
            f"{out} was made by another version of desta, and its {RESPONSES} is gone",
            fix="use it as it is, or give another directory",
        )
    elif any(out.glob("*.jsonl")):
        raise ConfigError(
            f"{out} holds shards of another origin or recipe, and no {RESPONSES}",
            fix=f"give another directory, or delete {out}",
        )


def _build(
    config: ConstructConfig,
    planner: Planner | RowPlan,
    make_responder: Callable[[RequestPlan[Any]], Responder],
    out: Path,
    traits: GeneratorTraits,
    origin: _Origin,
) -> Manifest:
    if isinstance(planner, RowPlan):
        response_filter, total = ResponseFilter(config, {}), planner.num_rows
        jobs = planner.jobs(response_filter)
        plan: RequestPlan[Any] = RequestPlan(blocks=planner.blocks(), jobs_of=planner.jobs_of)
    else:
        found = survey_clips(config)
        response_filter, total = ResponseFilter(config, found.closed_sets), found.num_prompts
        jobs = _jobs(planner, found, response_filter)
        plan = RequestPlan(blocks=planner.blocks(found), jobs_of=planner.jobs_of)
    with (
        Building(out, rows_per_shard=config.shard_rows) as building,
        progress_bar("constructing", total=total) as advance,
    ):
        answers = make_responder(plan).respond(jobs, on_progress=lambda count: advance(items=count))
        for job, outcome in answers:
            text, message = (
                ("", outcome.message) if isinstance(outcome, Refusal) else (outcome.text, None)
            )
            pair = job.pair(text)
            fault = response_filter.check(job, outcome)
            if fault is None:
                building.keep(pair)
            else:
                building.drop(pair, fault, message=message)
        shards = building.close()
    response_filter.check_share(rejects=str(building.rejects))
    manifest = Manifest(
        backbone=traits.id,
        revision=traits.revision,
        prompt_pool=planner.prompt_pool,
        sampling=to_plain(config.sampling),
        recipe=origin.recipe,
        code=origin.code,
        shards=shards,
        dropped=response_filter.dropped,
        counts=response_filter.counts,
        faithfulness=response_filter.faithfulness.to_json(),
        num_unknown=response_filter.num_unknown,
    )
    building.finish(manifest)
    return manifest


def _jobs(planner: Planner, found: Survey, response_filter: ResponseFilter) -> Iterator[Job]:
    for clip, planned in planner.plan(found):
        if not planned:
            response_filter.dropped.add(ALONE if planned is None else UNSUITED, clip.id)
        yield from planned or ()
