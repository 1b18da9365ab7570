"""Old names that are still accepted, each with a warning that gives the new one."""

import functools
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from desta.errors import ConfigError

log = logging.getLogger(__name__)

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

OLD_KEYS = dict.fromkeys(
    ("backbone_quantisation", "quantisation", "quantization", "quantise", "quantize"),
    "backbone_quantization",
)
"""Old key of a recipe -> new key."""
OLD_SYSTEMS = {
    "always first": "always_first",
    "no audio": "no_audio",
    "transcription only": "transcription_only",
}
"""Old id of an evaluated system -> new id."""
OLD_FILTERS = {
    "cut off": "cut_off",
    "repeats itself": "repeats_itself",
    "talks about the text": "talks_about_text",
    "holds a mark of reasoning": "has_reasoning_mark",
    "wrong language": "wrong_language",
    "misses the attribute": "misses_attribute",
    "invents the attribute": "invents_attribute",
    "states another value": "states_other_value",
}
"""Old id of a response filter -> new id."""
OLD_METRICS = {
    "character error rate, by rules of the script": "cer_by_script",
    "consecutive words": "consecutive_words",
    "exact match": "exact_match",
    "judge, leniently read": "judge_lenient",
    "lower bound": "lower_bound",
    "rule: letter or text": "rule",
    "word error rate": "wer",
    "word error rate, by rules of the script": "wer_by_script",
}
"""Old id of a metric -> new id."""
EVALUATION_DATA = (
    "attributes",
    "audio",
    "clips",
    "per_value",
    "prompts",
    "revision",
    "seed",
    "subsets",
    "system_prompt",
)
"""Keys of an evaluation recipe that are now in its section `data`."""


def with_new_keys(tree: Mapping[Any, Any], known: Collection[str], *, where: str) -> dict[Any, Any]:
    """Rename old keys of a recipe.

    Args:
        tree: keys and values.
        known: current names; only keys that are not among them are renamed.
        where: opens every message.

    Raises:
        ConfigError: a key is given under two names.
    """
    renamed: dict[Any, Any] = {}
    for key, value in tree.items():
        name = OLD_KEYS.get(key, key)
        if key in known or name not in known:
            name = key
        else:
            log.warning('%s: "%s" is now called "%s"', where, key, name)
        if name in renamed:
            raise ConfigError(f'{where}: "{name}" is given under two names', fix="keep one")
        renamed[name] = value
    return renamed


def with_data_section(tree: Mapping[str, Any], *, where: str | None) -> dict[str, Any]:
    """Return the keys of an evaluation recipe as they are now.

    `clips: ...` is now `data: {clips: ...}`, `data: PATH` is short for `data: {path: PATH}`,
    `baselines: [oracle]` is now `systems: [model, oracle]`, and systems have the ids of now.

    Args:
        tree: the keys.
        where: opens every message; None: rename without a warning.

    Raises:
        ConfigError: a key is given under both names.
    """
    tree = dict(tree)
    data = tree.pop("data", {})
    data = dict(data) if isinstance(data, Mapping) else {"path": data}

    def move(old: str, new: str, target: dict[str, Any], value: Any) -> None:
        key = new.rpartition(".")[2]
        if key in target:
            raise ConfigError(f'{where}: "{new}" is given under two names', fix="keep one")
        if where is not None:
            log.warning('%s: "%s" is now called "%s"', where, old, new)
        target[key] = value

    for key in [key for key in tree if key in EVALUATION_DATA]:
        move(key, f"data.{key}", data, tree.pop(key))
    if "baselines" in tree:
        names = tree.pop("baselines")
        named = ["model", *names] if isinstance(names, list | tuple) else names
        move("baselines", "systems", tree, named)
    if isinstance(systems := tree.get("systems"), list | tuple):
        tree["systems"] = [system_id(name, where=where) for name in systems]
    return {**tree, "data": data}


def system_id(name: Any, *, where: str | None = None) -> Any:
    """Return the id that an evaluated system has now.

    Args:
        name: its id, perhaps an old one.
        where: opens the warning; None: rename without one.
    """
    new = OLD_SYSTEMS.get(name, name) if isinstance(name, str) else name
    if new != name and where is not None:
        log.warning('%s: the system "%s" is now called "%s"', where, name, new)
    return new


def filter_id(name: str) -> str:
    """Return the id that a response filter has now, with a warning if that is another one."""
    new = OLD_FILTERS.get(name, name)
    if new != name:
        log.warning('the filter "%s" is now called "%s"', name, new)
    return new


def metric_id(name: Any) -> Any:
    """Return the id that a metric has now, or the name of a figure by one, `Average (rule)`."""
    if not isinstance(name, str):
        return name
    for old, new in OLD_METRICS.items():
        if name == old:
            return new
        name = name.replace(f"({old})", f"({new})")
    return name


def with_metric_ids(values: Mapping[str, T]) -> dict[str, T]:
    """Return values by the ids that metrics, or figures by them, have now."""
    return {metric_id(name): value for name, value in values.items()}


def current_scores(scores: Any) -> Any:
    """Return the content of a `scores.json` as it is written now, whatever it was."""
    if not isinstance(scores, dict):
        return scores
    if isinstance(official := scores.get("official"), list):
        scores["official"] = [metric_id(name) for name in official]
    verdict = scores.get("verdict")
    if isinstance(verdict, dict):
        _rename(verdict, "reading", "metric")
    against = verdict.get("against") if isinstance(verdict, dict) else None
    for row in (row for rows in (*scores.values(), against) for row in _objects(rows)):
        if "system" in row:
            row["system"] = system_id(row["system"])
        _rename(row, "figures", "headline")
        _rename(row, "notes", "remarks")
        if isinstance(headline := row.get("headline"), dict):
            row["headline"] = with_metric_ids(headline)
            for figure in _objects(list(headline.values())):
                _rename(figure, "reading", "metric")
        for cell in _objects(row.get("cells")):
            _rename(cell, "reading", "metric")
        for left in _objects(row.get("left_out")):
            _rename(left, "readings", "metrics")
    return scores


def _objects(rows: Any) -> list[dict[str, Any]]:
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _rename(row: dict[str, Any], old: str, new: str) -> None:
    """Rename a key, and what is named by its value: a metric, or several."""
    if old in row:
        row[new] = row.pop(old)
    value = row.get(new)
    if new == "metric" and value is not None:
        row[new] = metric_id(value)
    elif new == "metrics" and isinstance(value, list):
        row[new] = [metric_id(name) for name in value]


def other_names(key: str) -> list[str]:
    """Return the other names under which a key of a recipe is accepted."""
    name = OLD_KEYS.get(key, key)
    return [
        other for other in (*OLD_KEYS, name) if other != key and OLD_KEYS.get(other, other) == name
    ]


def keywords(**names: str) -> Callable[[F], F]:
    """Create a decorator that accepts old keyword arguments: `keywords(old="new")`."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **given: Any) -> Any:
            for old, new in names.items():
                if old in given:
                    log.warning("%s(%s=...) is now called %s", function.__name__, old, new)
                    given.setdefault(new, given.pop(old))
            return function(*args, **given)

        return call  # type: ignore[return-value]

    return decorate
