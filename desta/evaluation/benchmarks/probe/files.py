"""Questions of others, from a file: JSON or JSONL rows of question, options and answer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.evaluation.base import Item, form_messages, plain
from desta.evaluation.published_files import check_unique, field_of, read_json_rows, texts_of

_OPTIONS = ("options", "choices")
_CATEGORIES = ("category", "kind", "task")
_LETTERS = "ABCDEFGHIJ"


def read_questions(path: Path) -> list[Item]:
    """Return the questions of a file, in its order.

    A row has `question`, `options` (or `choices`), and `answer`: an option, or its letter. It may
    have `id` and `category`.

    Raises:
        DataError: the file is missing or broken, or a row lacks a key or has another answer.
    """
    rows = read_json_rows(path)
    items = [_item(row, number, f"{path}: row {number}") for number, row in enumerate(rows, 1)]
    check_unique((item.id for item in items), str(path))
    return items


def _item(row: Mapping[str, Any], number: int, where: str) -> Item:
    question = field_of(row, "question", str, where)
    key = next((name for name in _OPTIONS if name in row), _OPTIONS[0])
    options = texts_of(row, key, where)
    answer = field_of(row, "answer", str, where).strip()
    letters = dict(zip(_LETTERS, options, strict=False))
    target = answer if answer in options else letters.get(answer)
    if target is None:
        raise DataError(
            f"{where}: the answer {answer!r} is none of the options",
            fix="write one of its options as they stand there, or its letter",
        )
    category = next((str(row[name]) for name in _CATEGORIES if row.get(name)), "file")
    asked = f"{question} Choose one of these: {'; '.join(options)}."
    return Item(
        id=str(row.get("id", f"row {number}")),
        messages=form_messages("", plain(asked), []),
        question=asked,
        target=target,
        choices=options,
        groups={"kind": category, "form": "closed"},
        record={
            "asked": [{"target": target, "values": list(options)}],
            "instruction_id_list": [],
            "kwargs": [],
        },
    )
