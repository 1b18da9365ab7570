"""Study `loss`: learn the written response, or the distribution of the backbone that reads?"""

from dataclasses import replace

from desta.studies.recipe import Base
from desta.studies.variant import Family, Variant, variant


def variants(base: Base) -> list[Variant]:
    """Return the losses."""
    return [
        variant(base, name, about, train=replace(base.train, distillation=share))
        for name, about, share in (
            ("written", "cross-entropy of the written response", 0.0),
            ("reader", "KL divergence from the backbone that reads the description", 1.0),
            ("both", "half of each", 0.5),
        )
    ]


FAMILY = Family(
    name="loss",
    title="Which loss?",
    expected=(
        "The backbone that reads the description is a free teacher, which says more of each token "
        "than the one that was written: with equal pairs it should teach more. The paper does not "
        "try it."
    ),
    variants=variants,
)
