"""What the micro-batches of a step hold, in numbers that can be added up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from desta.data.dataset import Cut, SkippedPair
from desta.training.batches import MicroBatch


@dataclass(frozen=True)
class Tally:
    """Counts of a step, of one process or of all."""

    num_labels: int = 0
    num_pairs: int = 0
    """Usable ones."""
    num_tokens: int = 0
    """Padding included."""
    cut: list[Cut] = field(default_factory=list)
    skipped: list[SkippedPair] = field(default_factory=list)

    @classmethod
    def of(cls, micro_batches: Sequence[MicroBatch]) -> Self:
        """Count what was read."""
        return cls(
            num_labels=sum(m.batch.num_labels for m in micro_batches),
            num_pairs=sum(m.num_pairs for m in micro_batches),
            num_tokens=sum(m.batch.input_ids_BS.numel() for m in micro_batches),
            cut=[part for m in micro_batches for part in m.cut],
            skipped=[item for m in micro_batches for item in m.skipped],
        )

    @classmethod
    def sum(cls, tallies: Sequence["Tally"]) -> Self:
        """Add up the counts of several processes."""
        return cls(
            num_labels=sum(t.num_labels for t in tallies),
            num_pairs=sum(t.num_pairs for t in tallies),
            num_tokens=sum(t.num_tokens for t in tallies),
            cut=[part for t in tallies for part in t.cut],
            skipped=[item for t in tallies for item in t.skipped],
        )
