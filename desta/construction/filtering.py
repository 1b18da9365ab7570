"""Filtering of responses, with counts of the dropped ones by reason."""

from collections.abc import Mapping

from desta.construction.attribute_values import ClosedSets
from desta.construction.config import ConstructConfig
from desta.construction.duplicates import DUPLICATE, DuplicateFilter
from desta.construction.faithfulness import Faithfulness
from desta.construction.filters import WRONG_LANGUAGE, Candidate, first_failed
from desta.construction.language import need_detector
from desta.construction.plan import Job
from desta.errors import DataError, MissingExtraError
from desta.generators.base import Completion, Outcome, Refusal
from desta.isolation import error_of
from desta.reasons import Reasons

ONLY_REASONING = "nothing but reasoning"
UNSUITED = "no prompt suits the clip"
ALONE = "too few clips stand near it for a group"


class ResponseFilter:
    """Filter for responses in the order of the clips; counts what it keeps and drops."""

    def __init__(self, config: ConstructConfig, sets: ClosedSets) -> None:
        """Create a filter.

        Args:
            config: filters, and the share that may be dropped.
            sets: values that the clips' attributes may have.

        Raises:
            MissingExtraError: a filter's package is not installed.
        """
        if WRONG_LANGUAGE in config.filters:
            need_detector()
        self._filters = [name for name in config.filters if name != DUPLICATE]
        self._duplicates = (
            DuplicateFilter(config.max_same, transcription=config.description.transcription)
            if DUPLICATE in config.filters
            else None
        )
        self._most = config.max_dropped_share
        self._first_words = config.first_words
        self._sets = sets
        self._counts: dict[str, dict[str, dict[str, int]]] = {}
        self.dropped = Reasons[str]()
        """Dropped items by reason."""
        self.faithfulness = Faithfulness()
        """Counts of right values, in all responses and in those kept."""
        self.num_kept = 0
        self.num_unknown = 0
        """Kept pairs whose prompt asks for an attribute that the clip does not have."""

    def check(self, job: Job, outcome: Outcome) -> str | None:
        """Count a response or a refusal; return the reason for dropping it, None to keep it."""
        try:
            fault = outcome.reason if isinstance(outcome, Refusal) else self._fault(job, outcome)
        except MissingExtraError:
            raise
        except Exception as error:
            fault = f"judging it {error_of(error, '').reason}"
        kinds = self._counts.setdefault(job.clip.source, {})
        counts = kinds.setdefault(job.prompt.kind, {"kept": 0, "dropped": 0})
        if fault is None:
            counts["kept"] += 1
            self.num_kept += 1
            self.num_unknown += job.unknown
        else:
            counts["dropped"] += 1
            self.dropped.add(fault, job.id)
        return fault

    def _fault(self, job: Job, completion: Completion) -> str | None:
        if completion.only_reasoning:  # no response, whatever the filters
            return ONLY_REASONING
        candidate = Candidate(
            clip=job.clip,
            prompt=job.prompt,
            completion=completion,
            closed_sets=self._sets,
            first_words=self._first_words,
        )
        fault = first_failed(candidate, self._filters)
        if fault is None and self._duplicates:  # last: it must see only responses that are kept
            fault = self._duplicates.fault(candidate)
        self.faithfulness.add(candidate, kept=fault is None)
        return fault

    @property
    def counts(self) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
        """Source -> kind of prompt -> numbers of responses `kept` and `dropped`."""
        return self._counts

    def check_share(self, *, rejects: str) -> None:
        """Raise an error if more was dropped than the recipe allows.

        Args:
            rejects: file of the dropped responses.

        Raises:
            DataError: too much was dropped, or nothing is left.
        """
        num_dropped = self.dropped.total
        total = self.num_kept + num_dropped
        if self.num_kept and num_dropped <= self._most * total:
            return
        most = [reason for reason, _ in self.dropped.most_common()[:1]]
        change = (
            "raise sampling.max_new_tokens, or have the model answer without reasoning"
            if most == [ONLY_REASONING]
            else "change prompts, description or filters in the recipe, or raise max_dropped_share"
        )
        raise DataError(
            f"{num_dropped} of {total} responses were dropped, more than "
            f"max_dropped_share = {self._most}: {self.dropped}",
            fix=f"read them in {rejects}; then {change}",
        )
