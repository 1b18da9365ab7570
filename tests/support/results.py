"""Results of evaluations, written flat as in a line of `results.jsonl`."""

from collections.abc import Callable
from typing import Any

from desta.evaluation.base import Item, Result, Score

_DEFAULTS: dict[str, Any] = {
    "system": "model",
    "groups": {},
    "question": "Which?",
    "target": "",
    "choices": (),
    "record": {},
    "audio": (),
    "transcription": " ",
    "prompt": (),
    "output": "",
}


def make_result(**fields: Any) -> Result:
    return Result.from_json(_DEFAULTS | fields)


def changed(result: Result, **fields: Any) -> Result:
    return Result.from_json(result.to_json() | fields)


def answer(score: Callable[..., Score], item: Item, output: str, *replies: str) -> Result:
    """Return the scored answer of the model."""
    return Result(
        item=item,
        score=score(item, output, replies),
        system="model",
        output=output,
        replies=replies,
    )
