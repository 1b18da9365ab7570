"""Studies of one recipe key each: backbone, window, layers, query tokens, questions a clip."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from desta.studies.recipe import Base
from desta.studies.variant import Family, Variant, variant
from desta.training.config import TrainConfig

Setter = Callable[[TrainConfig, Any], TrainConfig]


def key_family(
    name: str, title: str, expected: str, values: Sequence[Any], change: Setter
) -> Family:
    """Return a study of a key of the training recipe.

    Args:
        name: name of the study and, with `_` for `-`, of the key.
        title: the question.
        expected: what is said beforehand.
        values: values of the key, the one to compare with first.
        change: (recipe, value) -> recipe with it.
    """

    def variants(base: Base) -> list[Variant]:
        return [
            variant(base, _slug(value), f"{name}: {_word(value)}", train=change(base.train, value))
            for value in values
        ]

    return Family(name=name, title=title, expected=expected, variants=variants)


def _backbones(base: Base) -> list[Variant]:
    """Return both backbones, each with its own responses."""
    return [
        variant(
            base,
            name,
            f"{backbone} writes, and is trained",
            construct=replace(base.construct, backbone=backbone),
            train=replace(base.train, model=replace(base.train.model, backbone=backbone)),
        )
        for name, backbone in (("first", base.study.backbone), ("second", base.other))
    ]


def _slug(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value or "quarters")


def _word(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value or "one a quarter")


def _of_model(config: TrainConfig, **changes: Any) -> TrainConfig:
    return replace(config, model=replace(config.model, **changes))


def _of_connector(config: TrainConfig, **changes: Any) -> TrainConfig:
    return _of_model(config, connector=replace(config.model.connector, **changes))


def _of_data(config: TrainConfig, **changes: Any) -> TrainConfig:
    return replace(config, data=replace(config.data, **changes))


FAMILIES = (
    Family(
        name="backbone",
        title="Which backbone?",
        expected="The backbone decides more than the training does (arXiv 2603.19195).",
        variants=_backbones,
    ),
    key_family(
        "window",
        "Windows of true length, or padded to 30 s?",
        "The same, at a fraction of the time.",
        ("tight", "30s"),
        lambda config, value: _of_model(config, window=value),
    ),
    key_family(
        "target_layers",
        "Which layers of the encoder?",
        "Lower layers hold the sound, upper ones the words; the last of each quarter holds both.",
        (None, (0, 1), (4, 5)),
        lambda config, value: _of_connector(config, target_layers=value),
    ),
    key_family(
        "query_tokens",
        "How many audio tokens a window?",
        "More tokens hold more, up to what some thousand pairs can teach.",
        (16, 4, 64),
        lambda config, value: _of_connector(config, num_query_tokens=value),
    ),
    key_family(
        "questions_per_clip",
        "How many questions about a clip in one sequence?",
        "The same loss for less time; fewer different clips a step.",
        (1, 4),
        lambda config, value: _of_data(config, questions_per_clip=value),
    ),
)
