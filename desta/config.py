"""Recipes: strict YAML files that become frozen dataclasses.

Unknown, missing and ill-typed keys are errors that name the key and the nearest known one.
`--set key.path=value` is the only way to override a value; the value is read as YAML.
Keys and texts are taken as written: plain YAML reads `no`, `1_000` and `2020-01-01` as a boolean, a
number and a date, which would never match these words in a table.
The key `kind` selects the dataclass where a value may be one of several.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from desta.errors import ConfigError
from desta.paths import check_local
from desta.renamed import other_names, with_new_keys

T = TypeVar("T")
COMMAND_LINE = "the command line"


def load_recipe(path: Path | None, kind: type[T], overrides: Sequence[str] = ()) -> T:
    """Read a recipe.

    Args:
        path: YAML file; None reads the overrides alone.
        kind: dataclass to build.
        overrides: `key.path=value`, applied in order.

    Raises:
        ConfigError: the file is missing or not YAML, or a key is unknown, missing or ill-typed.
    """
    tree = {} if path is None else read_tree(path)
    for override in check_overrides(overrides):
        apply_override(tree, override)
    return build_config(kind, tree, where=COMMAND_LINE if path is None else str(path))


def check_overrides(overrides: Sequence[str]) -> Sequence[str]:
    """Return overrides, once it is clear that they are several and not the text of one.

    Raises:
        ConfigError: they are one text.
    """
    if isinstance(overrides, str):
        raise ConfigError(
            f"the overrides are the text {overrides!r}", fix=f"give a list: [{overrides!r}]"
        )
    return overrides


def dump_recipe(config: Any) -> str:
    """Return the recipe as YAML, every value resolved."""
    return yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True, width=100)


def to_plain(value: Any, *, defaults: bool = True) -> Any:
    """Convert dataclasses, tuples and paths to types of YAML and JSON.

    Args:
        value: what to convert.
        defaults: whether fields that have their default are written.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: to_plain(getattr(value, f.name), defaults=defaults)
            for f in dataclasses.fields(value)
            if defaults or getattr(value, f.name) != _default(f)
        }
    if isinstance(value, Mapping):
        return {key: to_plain(item, defaults=defaults) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item, defaults=defaults) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _default(f: "dataclasses.Field[Any]") -> Any:
    """Return the default of a field; MISSING if it has none."""
    return f.default if f.default_factory is dataclasses.MISSING else f.default_factory()


def suggest(word: str, choices: Sequence[str]) -> str:
    """Return `did you mean "x"?`, or the list of choices if none is close."""
    plain = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower(), plain, n=1)
    return (
        f'did you mean "{plain[near[0]]}"?' if near else f"choose from {', '.join(sorted(choices))}"
    )


def read_tree(path: Path) -> dict[str, Any]:
    """Read the keys of a recipe, before a dataclass decides what its values are.

    Raises:
        ConfigError: the file is missing or is not YAML.
    """
    check_local(path)
    if not path.is_file():
        raise ConfigError(f"recipe {path} is not a file", fix="give the path of a YAML file")
    try:
        tree = _parse(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not YAML: {' '.join(str(error).split())}",
            fix="correct the line that it names",
        ) from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no keys", fix="write `key: value` lines")
    return tree


@dataclasses.dataclass(frozen=True)
class _Scalar:
    """A boolean, a number or null with its text; the type of its field selects one of them."""

    text: str
    value: bool | int | float | None

    def __repr__(self) -> str:
        return repr(self.value)


class _Loader(yaml.SafeLoader):
    """YAML loader that keeps keys as written, and the text of a value beside its parsed form.

    A duplicate key is an error; plain YAML silently keeps the last value.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping, and check its keys before `<<` merges in others, which may repeat.

        Raises:
            yaml.YAMLError: a key appears twice.
        """
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if (word := str(key.value)) in seen:
                raise yaml.composer.ComposerError(
                    "while reading keys",
                    node.start_mark,
                    f'"{key.value}" appears twice',
                    key.start_mark,
                )
            seen.add(word)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping with its keys as written.

        Raises:
            yaml.YAMLError: the node is not a mapping, or a key is a list or a mapping.
        """
        if not isinstance(node, yaml.MappingNode):
            return super().construct_mapping(node, deep)
        self.flatten_mapping(node)
        found = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    "while reading keys",
                    node.start_mark,
                    "a key is a list or a mapping",
                    key.start_mark,
                )
            found[key.value] = self.construct_object(value, deep=True)
        return found


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node)


def _sequence(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


def _scalar(loader: _Loader, node: yaml.ScalarNode) -> _Scalar | str:
    text = _text(loader, node)
    try:
        return _Scalar(text, yaml.SafeLoader.yaml_constructors[node.tag](loader, node))
    except (KeyError, ValueError):  # text that looks like a number: `0x_`
        return text


_CONSTRUCTORS: Mapping[str, Callable[[_Loader, Any], Any]] = {
    **dict.fromkeys(("bool", "int", "float", "null"), _scalar),
    **dict.fromkeys(("timestamp", "value", "merge"), _text),  # no field takes a date; `=` and `<<`
    "map": _mapping,
    "seq": _sequence,
}
for _kind, _constructor in _CONSTRUCTORS.items():
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _constructor)


def _plain(tree: Any) -> Any:
    """Return the values as YAML parses them."""
    if isinstance(tree, _Scalar):
        return tree.value
    if isinstance(tree, Mapping):
        return {key: _plain(value) for key, value in tree.items()}
    return [_plain(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _written(value: Any) -> Any:
    """Return a value as its text; null, lists and mappings stay."""
    return value.text if isinstance(value, _Scalar) and value.value is not None else value


def _parse(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deep") from error


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set `key.path=value` in a tree of `read_tree`.

    Raises:
        ConfigError: the path leads below a value, or the value is not YAML.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f'"{override}" is not KEY=VALUE', fix="write --set key.path=value")
    *parents, last = key.split(".")
    node: Any = tree
    for parent in parents:
        node = (
            node[_place(node, parent, override)]
            if isinstance(node, list)
            else (_below(node, parent) if isinstance(node, dict) else None)
        )
    if not isinstance(node, dict | list):
        raise ConfigError(
            f'"{key}" in --set {override} leads below a value', fix="check the path in the recipe"
        )
    place: Any = _place(node, last, override) if isinstance(node, list) else last
    try:
        value = _parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override} is not YAML", fix="quote the value") from error
    if isinstance(node, dict):
        for name in other_names(last):
            node.pop(name, None)
    node[place] = value


def _below(node: dict[str, Any], key: str) -> Any:
    """Return the value of a key; an empty mapping takes the place of a missing or null one."""
    if _plain(node.get(key)) is None:
        node[key] = {}
    return node[key]


def _place(items: list[Any], key: str, override: str) -> int:
    """Return the list index that a part of a path names."""
    if not key.isdigit() or int(key) >= len(items):
        raise ConfigError(
            f'"{key}" in --set {override} is not an index of a list of {len(items)}',
            fix=f"give a number from 0 to {len(items) - 1}",
        )
    return int(key)


def build_config(kind: type[T], tree: Any, *, where: str, path: str = "") -> T:
    """Build a dataclass from a tree of plain values.

    Args:
        kind: the dataclass.
        tree: key -> value.
        where: opens every error message.
        path: key of the tree in its recipe; empty for the whole recipe.
    """
    _check_keys(tree, where, path)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    tree = with_new_keys(tree, fields, where=where)
    hints = typing.get_type_hints(kind)
    for key in tree:
        if key not in fields:
            raise ConfigError(
                f'{where}: unknown key "{_join(path, key)}"', fix=suggest(str(key), list(fields))
            )
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in tree:
            below = f'below "{path}" in' if path else "to"
            raise ConfigError(
                f'{where}: missing key "{_join(path, name)}"',
                fix=f"give --set {_join(path, name)}=..., or a recipe that holds it"
                if where == COMMAND_LINE
                else f'add "{name}: ..." {below} the recipe, or give --set {_join(path, name)}=...',
            )
    values = {
        key: _convert(hints[key], value, where=where, path=_join(path, key))
        for key, value in tree.items()
    }
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", fix=error.fix) from error


def _check_keys(tree: Any, where: str, path: str) -> None:
    if not isinstance(tree, Mapping):
        raise ConfigError(
            f'{where}: "{path}" is {tree!r}, not keys', fix="indent its keys below it"
        )


def _build_tagged(kinds: Sequence[Any], tree: Any, *, where: str, path: str) -> Any:
    """Build the dataclass that `kind` names among several."""
    tags = {get_args(typing.get_type_hints(kind)["kind"])[0]: kind for kind in kinds}
    _check_keys(tree, where, path)
    if "kind" not in tree:
        raise ConfigError(
            f'{where}: missing key "{_join(path, "kind")}"', fix=f"choose from {', '.join(tags)}"
        )
    tag = _written(tree["kind"])
    if not isinstance(tag, str) or tag not in tags:
        raise ConfigError(
            f'{where}: "{_join(path, "kind")}" = {tag!r} is not one of {", ".join(tags)}',
            fix=suggest(str(tag), list(tags)),
        )
    return build_config(tags[tag], tree, where=where, path=path)


def _convert(hint: Any, value: Any, *, where: str, path: str) -> Any:
    def wrong(expected: str, remark: str = "") -> ConfigError:
        return ConfigError(
            f'{where}: "{path}" = {value!r} is not {expected}', fix=f"give {expected}{remark}"
        )

    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        options = [h for h in get_args(hint) if h is not type(None)]
        if _plain(value) is None and len(options) < len(get_args(hint)):
            return None
        if len(options) > 1 and all(map(dataclasses.is_dataclass, options)):
            return _build_tagged(options, value, where=where, path=path)
        return _convert(options[0], value, where=where, path=path)
    if origin is Literal:
        for meant in (_plain(value), _written(value)):
            if meant in get_args(hint):
                return meant
        raise wrong(f"one of {', '.join(map(str, get_args(hint)))}")
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise wrong("a list")
        item = get_args(hint)[0]
        return tuple(
            _convert(item, v, where=where, path=f"{path}[{i}]") for i, v in enumerate(value)
        )
    if origin in (dict, Mapping) or getattr(origin, "__name__", "") == "Mapping":
        if not isinstance(value, Mapping):
            raise wrong("a mapping")
        item = get_args(hint)[1]
        return {k: _convert(item, v, where=where, path=_join(path, k)) for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return build_config(hint, value, where=where, path=path)  # type: ignore[arg-type]
    if hint in (str, Path):
        text = _written(value)
        if not isinstance(text, str):
            null = isinstance(text, _Scalar) and text.text
            remark = f', which "{null}" is in quotes' if null else ""
            raise wrong("text" if hint is str else "a path", remark)
        return hint(text)
    value = _plain(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML reads 1e-4 as text
        try:
            return float(value)
        except ValueError:
            raise wrong("a number") from None
    names = {int: "a whole number", float: "a number", bool: "true or false"}
    if hint in names and (type(value) is not hint):
        raise wrong(names[hint])
    return value


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
