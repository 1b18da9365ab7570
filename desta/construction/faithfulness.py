"""Faithfulness: counts of responses that name the right value of the attribute asked for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from desta.construction.attribute_values import names_attribute, other_values
from desta.construction.filters import Candidate


@dataclass(kw_only=True)
class FaithfulCounts:
    """Counts of responses to prompts of one kind about one attribute."""

    asked: int = 0
    right: int = 0
    """Responses that name a value of the clip, and no wrong one."""
    kept: int = 0
    kept_right: int = 0


class Faithfulness:
    """Counts of right responses, before and after filtering, by kind of prompt and attribute.

    Only prompts that need an attribute with a closed set of values are counted: language, sex,
    instrument, sound class, ... Responses to prompts of the kind "ask" must name the value; for the
    other kinds the counts are frequencies of mentions.
    """

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], FaithfulCounts] = {}

    def add(self, candidate: Candidate, *, kept: bool) -> None:
        """Count a response."""
        clip, prompt = candidate.clip, candidate.prompt
        for name in prompt.needs:
            sets = candidate.closed_sets
            if not (clip.attributes.get(name) and sets.get((clip.domain, name))):
                continue
            tally = self._tallies.setdefault((prompt.kind, name), FaithfulCounts())
            right = names_attribute(
                candidate.completion.text, candidate.words, clip, name
            ) and not other_values(
                candidate.words, clip, sets, asked=prompt.needs, of=frozenset([name])
            )
            tally.asked += 1
            tally.right += right
            tally.kept += kept
            tally.kept_right += right and kept

    def merge(self, other: "Faithfulness") -> None:
        """Add the counts of another part of the same data set."""
        for key, theirs in other._tallies.items():
            ours = self._tallies.setdefault(key, FaithfulCounts())
            ours.asked += theirs.asked
            ours.right += theirs.right
            ours.kept += theirs.kept
            ours.kept_right += theirs.kept_right

    def to_json(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return kind of prompt -> attribute -> counts, both in alphabetical order."""
        record: dict[str, dict[str, dict[str, int]]] = {}
        for (kind, name), tally in sorted(self._tallies.items()):
            record.setdefault(kind, {})[name] = asdict(tally)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Mapping[str, Mapping[str, int]]]) -> "Faithfulness":
        """Build the counts from the result of `to_json`."""
        faithfulness = cls()
        for kind, tallies in record.items():
            for name, counts in tallies.items():
                faithfulness._tallies[kind, name] = FaithfulCounts(**counts)
        return faithfulness
