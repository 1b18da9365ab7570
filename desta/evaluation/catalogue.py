"""Descriptions of benchmarks for users of `desta eval`: files, systems, figures, licence."""

from dataclasses import asdict

from desta.config import suggest
from desta.errors import ConfigError
from desta.evaluation.base import About
from desta.evaluation.benchmarks.table import BENCHMARKS

_TEXT = About(
    title="without a clip the model must still be its backbone, token for token",
    data="none; `data.prompts` of its recipe, which have a default",
    metrics="answers that are equal to the bare backbone's",
    licence="-",
    source="this package",
    example="desta eval text --model MODEL",
)
ABOUT: dict[str, About] = dict(
    sorted({"text": _TEXT, **{name: row.about for name, row in BENCHMARKS.items()}}.items())
)
"""All of `desta eval`, by name."""


def find_about(name: str) -> dict[str, str]:
    """Return what is known of a benchmark, with its name.

    Raises:
        ConfigError: there is none of that name; the fix names the nearest, and all.
    """
    if name not in ABOUT:
        near, all_of_them = suggest(name, list(ABOUT)), f"choose from {', '.join(ABOUT)}"
        fix = near if near == all_of_them else f"{near} else {all_of_them}"
        raise ConfigError(f'unknown benchmark "{name}"', fix=fix)
    return {"name": name, **asdict(ABOUT[name])}
