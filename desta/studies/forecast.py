"""Time that a study will take: its budget over the speed that was measured, or that is stated."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from desta.errors import DataError
from desta.studies.cost import Costs
from desta.studies.measures import num_answers
from desta.studies.plan import COSTS, Plan
from desta.studies.recipe import Speed
from desta.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Seconds of one seed of every variant that trains."""

    write: float
    """Of the responses, at least, where no other variant has the same."""
    first: float
    """Of the first stage, where no other variant has the same."""
    train: float
    answer: float | None
    """Of the evaluations; None where the held-out clips are not there to be counted."""
    measured: Mapping[str, float]
    """Speed -> units a second of steps that were done here; of others the recipe states it."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.write + self.first + self.train + (self.answer or 0.0)


def pairs_of(config: TrainConfig) -> int:
    """Return the pairs that a run reads."""
    return config.steps * config.accumulate * (config.data.batch_rows or 0)


def forecast(plan: Plan) -> Forecast:
    """Estimate the time of one seed of one variant; nothing is written."""
    costs = Costs(plan.out / COSTS)
    stated = plan.base.study.speed
    measured = {
        speed.name: round(found, 3)
        for speed in fields(Speed)
        if (found := costs.per_second(speed.name))
    }
    speed = {
        each.name: measured.get(each.name, getattr(stated, each.name)) for each in fields(Speed)
    }
    first = plan.base.first
    try:
        answers: float | None = num_answers(plan) / speed["answer"]
    except DataError:
        answers = None
    return Forecast(
        write=plan.base.study.pairs / speed["write"],
        first=pairs_of(first) / speed["first"] if first is not None else 0.0,
        train=pairs_of(plan.base.train) / speed["train"],
        answer=answers,
        measured=measured,
    )
