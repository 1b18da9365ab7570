"""Validation of JSON files against type hints.

A hint is a Python type: `str`, `float`, `list[str]`, `dict[str, int]`, a union, a `Literal`, a
`TypedDict` or a dataclass. Unknown keys are accepted. Numbers must be finite; `Json` is any value
with finite numbers.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin

from desta.errors import DataError

Json = Annotated[Any, "finite"]
"""Any JSON value with finite numbers; `Any` itself is not checked."""
MOST = 10**15
"""Largest magnitude of a count, score or number of seconds; anything beyond is damage."""
_NAMES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def read_json(
    path: Path,
    hint: Any,
    *,
    fix: str,
    what: str = "JSON",
    change: Callable[[Any], Any] = lambda value: value,
) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        hint: type of its content.
        fix: fix of the error.
        what: kind of file, for the error message.
        change: brings the content of older files into the form of now, whatever it is.

    Raises:
        DataError: the file is missing, is not JSON, or does not match the hint.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} is missing", fix=fix) from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno} is not {what}: {error.msg}", fix=fix) from error
    except (ValueError, RecursionError) as error:  # no text, a number without end, far too deep
        raise DataError(f"{path} is not {what}: {error}", fix=fix) from error
    value = change(value)
    check_json(value, hint, where=str(path) if what == "JSON" else f"{path} is not {what}", fix=fix)
    return value


def check_json(value: Any, hint: Any, *, where: str, fix: str) -> None:
    """Raise DataError, which opens with `where`, if a value does not match a hint."""
    if fault := find_json_fault(value, hint):
        raise DataError(f"{where}: {fault}", fix=fix)


def find_json_fault(value: Any, hint: Any, key: str = "") -> str | None:
    """Return the first mismatch between a JSON value and a hint, with its key; None if it matches.

    >>> find_json_fault({"systems": [{"name": 3}]}, dict[str, list[dict[str, str]]])
    'systems[0].name is 3, not a text'
    """
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return None
    if hint == Json:
        return _infinite(value, key)
    if origin in (NotRequired, typing.Required):
        return find_json_fault(value, args[0], key)
    if origin in (Union, types.UnionType):
        faults = [find_json_fault(value, option, key) for option in args]
        if None in faults:
            return None
        rest = [option for option in args if option is not type(None)]
        return find_json_fault(value, rest[0], key) if len(rest) == 1 else _is_not(value, hint, key)
    if origin is Literal:
        return None if value in args else _is_not(value, hint, key)
    if fields := _fields(hint):
        return _fault_in_object(value, fields, key)
    if origin is not None and issubclass(origin, Mapping):
        return _first(value, args, key) if isinstance(value, dict) else _is_not(value, hint, key)
    if origin is not None and issubclass(origin, Sequence):
        if not isinstance(value, list | tuple):
            return _is_not(value, hint, key)
        found = (find_json_fault(each, args[0], f"{key}[{n}]") for n, each in enumerate(value))
        return next(filter(None, found), None)
    return None if _is(value, hint) else _is_not(value, hint, key)


def _is(value: Any, hint: Any) -> bool:
    if hint in (int, float):
        number = isinstance(value, int | float if hint is float else int)
        return number and not isinstance(value, bool) and abs(value) <= MOST
    return isinstance(value, hint)


def _fields(hint: Any) -> dict[str, tuple[Any, bool]]:
    """Return field -> hint, and whether it is required, of a TypedDict or a dataclass."""
    if typing.is_typeddict(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        return {name: (each, name in hint.__required_keys__) for name, each in hints.items()}
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        return {
            f.name: (
                hints[f.name],
                f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING,
            )
            for f in dataclasses.fields(hint)
        }
    return {}


def _fault_in_object(value: Any, fields: Mapping[str, tuple[Any, bool]], key: str) -> str | None:
    if not isinstance(value, dict):
        return _is_not(value, dict, key)
    for name, (hint, required) in fields.items():
        if name not in value:
            if required:
                return f"{_below(key, name)} is missing"
        elif fault := find_json_fault(value[name], hint, _below(key, name)):
            return fault
    return None


def _first(value: Mapping[str, Any], args: Sequence[Any], key: str) -> str | None:
    found = (find_json_fault(each, args[1], _below(key, name)) for name, each in value.items())
    return next(filter(None, found), None)


def _infinite(value: Any, key: str) -> str | None:
    if isinstance(value, dict):
        return _first(value, (str, Json), key)
    if isinstance(value, list):
        found = (_infinite(each, f"{key}[{n}]") for n, each in enumerate(value))
        return next(filter(None, found), None)
    bad = isinstance(value, float) and not math.isfinite(value)
    return _is_not(value, float, key) if bad else None


def _is_not(value: Any, hint: Any, key: str) -> str:
    return f"{key or 'it'} is {_shown(value)}, not {_name(hint)}"


def _name(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_name, args))
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if hint in _NAMES:
        return _NAMES[hint]
    kind = origin or hint
    return "an object" if _fields(hint) or issubclass(kind, Mapping) else "a list"


def _shown(value: Any) -> str:
    """Return a value in a short form for messages."""
    text = "NaN" if isinstance(value, float) and math.isnan(value) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _below(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)
