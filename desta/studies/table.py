"""The table of studies; to add one, write a function from a base to variants and list it here."""

from desta.config import suggest
from desta.errors import ConfigError
from desta.studies import keys, loss, prompts, targets, trainable, transcription
from desta.studies.variant import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        targets.FAMILY,
        prompts.FAMILY,
        transcription.FAMILY,
        trainable.FAMILY,
        loss.FAMILY,
        *keys.FAMILIES,
    )
}


def find_family(name: str) -> Family:
    """Return a study.

    Raises:
        ConfigError: there is none of that name; the fix names the nearest, and all.
    """
    if name not in FAMILIES:
        names = list(FAMILIES)
        near, every = suggest(name, names), f"choose from {', '.join(sorted(names))}"
        raise ConfigError(
            f'unknown study "{name}"', fix=near if near == every else f"{near} else {every}"
        )
    return FAMILIES[name]
