"""Own responses of a backbone to descriptions: how many the filters keep, and how fast it writes.

The steps are those of construction, with its journal; of pairs nothing is written. A folder holds

    responses.sqlite   every response, by request
    responses.jsonl    the same to read: description, prompt, response, why it would be dropped
    speed.jsonl        requests, tokens and seconds of every batch
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.filtering import ResponseFilter
from desta.construction.filters import FILTERS, WRONG_LANGUAGE
from desta.construction.journal import ResponseJournal
from desta.construction.plan import Job, Planner
from desta.construction.requests import BatchedGenerator
from desta.construction.survey import survey_clips
from desta.errors import DataError
from desta.evaluation.metrics import Estimate, mean, ratio
from desta.files import UNWRITABLE, write_atomic
from desta.generators.base import Completion, Outcome, Refusal, TextGenerator
from desta.generators.timed import TimedGenerator
from desta.lines import LineFile, whole_lines
from desta.model.backbone.sampling import Sampling
from desta.progress import progress_bar
from desta.records import DOMAINS
from desta.shards import RESPONSES

ROWS = "responses.jsonl"
SPEED = "speed.jsonl"
_FILTERS = tuple(id for id in FILTERS if id not in (WRONG_LANGUAGE, "begins_with_other"))
"""All but one that needs a package of its own, and one that is about the order of words."""


def response_recipe(clips: Path, generator: TextGenerator, batch_size: int) -> ConstructConfig:
    """Return the recipe of the responses: questions and descriptions, some about the unknown."""
    return ConstructConfig(
        clips=(ClipsConfig(path=clips, root=clips.parent),),
        backbone=generator.id,
        sampling=Sampling(temperature=0.0, max_new_tokens=128),
        kinds={domain: {"ask": 2.0, "describe": 1.0} for domain in DOMAINS},
        unknown_share=0.2,
        filters=_FILTERS,
        batch_size=batch_size,
    )


@dataclass(frozen=True, kw_only=True)
class OwnResponses:
    """Counts of the responses of a backbone."""

    kept: Estimate
    """Share that all filters keep."""
    right: Estimate | None
    """Share that names the right value, of those that were asked for one; None if none was."""
    num_responses: int
    num_asked: int
    dropped: list[dict[str, Any]]
    """`{reason, count, example}`, the highest count first."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, every field written."""
        return {
            **self.__dict__,
            "kept": self.kept.to_json(),
            "right": self.right and self.right.to_json(),
        }


def write_responses(
    clips: Path, generator: TextGenerator, folder: Path, *, batch_size: int, retry: bool = False
) -> OwnResponses:
    """Generate responses to prompts about clips, and filter them.

    The same call continues after an interruption.

    Args:
        clips: a `clips.jsonl`.
        generator: the loaded backbone.
        folder: of its files.
        batch_size: requests that are sent at once.
        retry: send refused requests again.
    """
    config = response_recipe(clips, generator, batch_size)
    found = survey_clips(config)
    jobs = [job for _, planned in Planner(config).plan(found) for job in planned or ()]
    judge = ResponseFilter(config, found.closed_sets)
    busy = DataError(f"another process writes {folder}", fix="let it finish, or give another --out")
    rows = []
    with (
        ResponseJournal(folder / RESPONSES) as journal,
        LineFile(folder / SPEED, busy=busy) as speed,
        progress_bar("respond", total=len(jobs)) as advance,
    ):
        if retry:
            journal.forget_refusals()
        timed = TimedGenerator(generator, partial(_note_speed, speed))
        responder = BatchedGenerator(config, timed, journal)
        for job, outcome in responder.respond(jobs, on_progress=lambda n: advance(items=n)):
            rows.append(_row(job, outcome, judge.check(job, outcome)))
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomic(folder / ROWS, text.encode(errors=UNWRITABLE))
    asked = judge.faithfulness.to_json().get("ask", {}).values()
    num_asked, num_right = (sum(row[name] for row in asked) for name in ("asked", "right"))
    return OwnResponses(
        kept=mean([float(row["dropped"] is None) for row in rows]),
        right=mean([1.0] * num_right + [0.0] * (num_asked - num_right)) if num_asked else None,
        num_responses=len(rows),
        num_asked=num_asked,
        dropped=judge.dropped.table(),
    )


def read_speed(folder: Path) -> dict[str, Any] | None:
    """Return tokens and requests a second with standard errors over batches; None if unmeasured.

    Seconds are of the wall, and hold the reading of the prompts as well. One batch alone has no
    standard error: it is None.
    """
    batches = [json.loads(line) for line in whole_lines(folder / SPEED)]
    if not batches:
        return None
    totals = {name: sum(batch[name] for batch in batches) for name in batches[0]}
    rates = {f"{name}_per_second": _rate(batches, name) for name in ("requests", "tokens")}
    return {**rates, **totals, "seconds": round(totals["seconds"], 3)}


def _note_speed(file: LineFile, outcomes: Sequence[Outcome], seconds: float) -> None:
    tokens = sum(each.num_tokens for each in outcomes if isinstance(each, Completion))
    batch = {"requests": len(outcomes), "tokens": tokens, "seconds": round(seconds, 6)}
    file.append([json.dumps(batch)])


def _rate(batches: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    seconds = [batch["seconds"] for batch in batches]
    rate = ratio([batch[name] for batch in batches], seconds).to_json()
    return rate if len(batches) > 1 else {**rate, "standard_error": None}


def _row(job: Job, outcome: Outcome, fault: str | None) -> dict[str, Any]:
    return {
        "id": job.id,
        "description": job.description,
        "prompt": job.prompt.text,
        "response": outcome.message if isinstance(outcome, Refusal) else outcome.text,
        "dropped": fault,
    }
