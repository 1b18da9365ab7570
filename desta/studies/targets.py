"""Study `targets`: who writes what the model learns to say?"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from desta.construction.prompts import load_pool
from desta.data.described import stated_values
from desta.records import DOMAINS, AudioTextPair
from desta.studies.recipe import Base
from desta.studies.variant import Family, Variant, variant

_DURATION = "duration"


@dataclass(frozen=True, kw_only=True)
class FromAttributes:
    """Responses out of the attributes that a description states: no model has written them."""

    form: Literal["sentences", "labels"]
    prompts: Path | None = field(repr=False)
    """Folder of the prompt pools, which say what a prompt asks for; the data depend on it too."""

    def __call__(self, pair: AudioTextPair) -> AudioTextPair:
        """Return the pair with the values that its prompt asks for, or with all of them."""
        stated = stated_values(pair.seed_description)
        asked = {name.casefold() for name in self._needs.get(pair.prompt, ())}
        chosen = {n: v for n, v in stated.items() if n in asked} or {
            n: v for n, v in stated.items() if n != _DURATION
        }
        return replace(pair, response=self._say(chosen or stated))

    def _say(self, values: Mapping[str, str]) -> str:
        if self.form == "labels":
            return ", ".join(values.values())
        return " ".join(f"The {name} is {value}." for name, value in values.items())

    @cached_property
    def _needs(self) -> dict[str, frozenset[str]]:
        return {p.text: p.needs for domain in DOMAINS for p in load_pool(domain, self.prompts)}


def variants(base: Base) -> list[Variant]:
    """Return the writers of the targets."""
    own = base.construct
    warm = replace(own, sampling=replace(own.sampling, temperature=1.0))
    return [
        variant(base, "itself", f"{own.backbone}, which is trained on them, writes the responses"),
        variant(
            base,
            "other",
            f"{base.other} writes the responses",
            construct=replace(own, backbone=base.other),
        ),
        *(
            variant(base, form, about, change=FromAttributes(form=form, prompts=own.prompts))
            for form, about in _FORMS.items()
        ),
        variant(
            base, "temperature-1", "it writes them at temperature 1.0 and top-p 1.0", construct=warm
        ),
    ]


_FORMS: dict[Literal["sentences", "labels"], str] = {
    "sentences": "sentences out of the attributes: The language is French.",
    "labels": "bare values of the attributes: French",
}

FAMILY = Family(
    name="targets",
    title="Who writes the targets?",
    expected=(
        "Targets that the backbone writes itself align it better, and keep its language better, "
        "than those of another writer; the less likely targets are to the backbone, the more is "
        "lost (DeSTA2.5-Audio, arXiv 2507.02768)."
    ),
    variants=variants,
)
