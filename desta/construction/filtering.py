"""Verdicts: which responses become pairs, and how many do not, with the reason."""

from collections.abc import Mapping

from desta.construction.attribute_values import ClosedSets
from desta.construction.config import ConstructConfig
from desta.construction.duplicates import DUPLICATE, DuplicateFilter
from desta.construction.faithfulness import Faithfulness
from desta.construction.filters import WRONG_LANGUAGE, Candidate, find_fault
from desta.construction.language import need_detector
from desta.construction.plan import Job
from desta.errors import DataError, MissingExtraError
from desta.generators.base import Completion, Outcome, Refusal
from desta.isolation import error_of
from desta.reasons import Reasons

ONLY_REASONING = "nothing but reasoning"
UNSUITED = "no prompt suits the clip"
ALONE = "too few clips stand near it for a group"


class Verdicts:
    """Judges responses one after another, in the order of the clips, and counts."""

    def __init__(self, config: ConstructConfig, sets: ClosedSets) -> None:
        """Begin to count.

        Args:
            config: its filters and the share that may be dropped.
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
        self._sets = sets
        self._counts: dict[str, dict[str, dict[str, int]]] = {}
        self.dropped = Reasons[str]()
        """What became no pair."""
        self.faithfulness = Faithfulness()
        """Right values among all responses and among those kept."""
        self.num_kept = 0
        self.num_unknown = 0
        """Kept pairs whose prompt asks for what is not known of the clip."""

    def judge(self, job: Job, outcome: Outcome) -> str | None:
        """Return why there is no pair, of a response or a refusal; None where there is one."""
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
        if completion.only_reasoning:  # whatever the filters: there is no response
            return ONLY_REASONING
        candidate = Candidate(
            clip=job.clip, prompt=job.prompt, completion=completion, closed_sets=self._sets
        )
        fault = find_fault(candidate, self._filters)
        if fault is None and self._duplicates:  # it remembers, and only what is kept
            fault = self._duplicates.fault(candidate)
        self.faithfulness.add(candidate, kept=fault is None)
        return fault

    @property
    def counts(self) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
        """Source -> kind of prompt -> responses that were `kept` and `dropped`."""
        return self._counts

    def check_share(self, *, rejects: str) -> None:
        """Refuse a data set of which more was dropped than the recipe allows.

        Args:
            rejects: file that holds what was dropped.

        Raises:
            DataError: more was dropped, or nothing is left.
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
