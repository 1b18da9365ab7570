"""Counts of the micro-batches of a step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from desta.data.dataset import Remark
from desta.reasons import Reasons
from desta.training.batches import MicroBatch


@dataclass(frozen=True)
class StepTally:
    """Counts of a step, of one process or of all."""

    num_labels: int = 0
    num_pairs: int = 0
    """Usable pairs."""
    num_tokens: int = 0
    """Tokens, padding included."""
    cut: Reasons[str] = field(default_factory=Reasons)
    skipped: Reasons[str] = field(default_factory=Reasons)

    @classmethod
    def of(cls, micro_batches: Sequence[MicroBatch]) -> Self:
        """Return the counts of micro-batches."""
        return cls(
            num_labels=sum(m.batch.num_labels for m in micro_batches),
            num_pairs=sum(m.num_pairs for m in micro_batches),
            num_tokens=sum(m.batch.input_ids_BS.numel() for m in micro_batches),
            cut=count_remarks(part for m in micro_batches for part in m.cut),
            skipped=count_remarks(item for m in micro_batches for item in m.skipped),
        )

    @classmethod
    def sum(cls, tallies: Sequence["StepTally"]) -> Self:
        """Return the sum of the counts of several processes."""
        total = cls(
            num_labels=sum(t.num_labels for t in tallies),
            num_pairs=sum(t.num_pairs for t in tallies),
            num_tokens=sum(t.num_tokens for t in tallies),
        )
        for tally in tallies:
            total.cut.merge(tally.cut)
            total.skipped.merge(tally.skipped)
        return total


def count_remarks(remarks: Iterable[Remark]) -> Reasons[str]:
    """Count remarks by their reason."""
    return Reasons.of((remark.reason, remark.id) for remark in remarks)
