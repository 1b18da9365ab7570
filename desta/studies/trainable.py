"""Study `trainable`: the connector alone, or the backbone as well?"""

from dataclasses import replace

from desta.model.config import LoraConfig
from desta.studies.recipe import Base
from desta.studies.variant import Family, Variant, variant


def variants(base: Base) -> list[Variant]:
    """Return what is trained."""
    alone = replace(base.train, model=replace(base.train.model, lora=None))
    lora = base.train.model.lora or LoraConfig()
    both = replace(base.train, model=replace(base.train.model, lora=lora))
    rank = f"low-rank updates (rank {lora.rank}) of {', '.join(lora.targets)}"
    return [
        variant(base, "connector", "the connector alone; the backbone is frozen", train=alone),
        variant(base, "lora", f"the connector and {rank}", train=both),
    ]


FAMILY = Family(
    name="trainable",
    title="What is trained?",
    expected=(
        "The connector alone keeps the backbone, token for token; updates of the backbone may hear "
        "more, and forget."
    ),
    variants=variants,
)
