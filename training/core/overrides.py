"""``key=value`` overrides of a frozen config dataclass, checked against the field types.

A key is the dotted path of a field (``trainer.optimizer.lr``), or the end of only one such path
(``optimizer.lr``, ``lr``).
"""

import dataclasses
import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import (
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from flashtalk.errors import InputError

ConfigT = TypeVar("ConfigT")
_Path: TypeAlias = tuple[str, ...]


def apply_overrides(config: ConfigT, assignments: Sequence[str]) -> ConfigT:
    """Returns a copy of ``config`` with all ``key=value`` strings applied; the last one counts.

    Raises:
        InputError: no ``=``, an unknown or ambiguous key, or a value of the wrong type.
    """
    paths = list(_leaves(config))
    changes: dict[_Path, tuple[str, str]] = {}
    for assignment in assignments:
        key, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals:
            raise InputError("override", assignment, "must look like key=value")
        changes[_resolve(paths, key)] = key, text
    return cast(ConfigT, _changed(config, changes))


def field_paths(config: object) -> list[str]:
    """Returns the dotted paths of all fields that can be overridden, in declaration order."""
    return [".".join(path) for path in _leaves(config)]


def _leaves(config: object, prefix: _Path = ()) -> Iterator[_Path]:
    for field in dataclasses.fields(cast(Any, config)):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, (*prefix, field.name))
        else:
            yield (*prefix, field.name)


def _resolve(paths: Sequence[_Path], key: str) -> _Path:
    wanted = tuple(key.split("."))
    if wanted in paths:
        return wanted
    matches = [path for path in paths if path[-len(wanted) :] == wanted]
    if len(matches) == 1:
        return matches[0]
    names = [".".join(path) for path in (matches or paths)]
    if matches:
        raise InputError("override", key, f"is ambiguous, give one of {', '.join(names)}")
    ends = {".".join(path[-count:]): ".".join(path) for path in paths for count in (1, 2)}
    near = dict.fromkeys(ends[end] for end in difflib.get_close_matches(key, ends, n=3))
    hint = ", ".join(near or names)
    raise InputError("override", key, f"is not a field of this recipe; did you mean {hint}?")


def _changed(config: object, changes: Mapping[_Path, tuple[str, str]]) -> object:
    """Replaces all fields of a section at once: some are valid only together."""
    values: dict[str, object] = {}
    hints = get_type_hints(type(config))
    for name in dict.fromkeys(path[0] for path in changes):
        inner = {path[1:]: change for path, change in changes.items() if path[0] == name}
        if () in inner:
            key, text = inner[()]
            values[name] = parse_value(key, text, hints[name])
        else:
            values[name] = _changed(getattr(config, name), inner)
    return dataclasses.replace(cast(Any, config), **values)


def parse_value(key: str, text: str, kind: object) -> object:
    """Parses ``text`` as the annotated type ``kind``; raises InputError naming ``key``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        if text not in arguments:
            raise InputError(key, text, f"must be one of {', '.join(map(str, arguments))}")
        return text
    if origin in (Union, types.UnionType):
        if type(None) in arguments and text.lower() == "none":
            return None
        return parse_value(key, text, next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        inner = arguments[0]
        return tuple(parse_value(key, part.strip(), inner) for part in text.split(",") if part)
    return _parse_scalar(key, text, kind)


def _parse_scalar(key: str, text: str, kind: object) -> object:
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise InputError(key, text, "must be true or false")
        return text.lower() in ("true", "1")
    if kind in (int, float):
        try:
            return int(text) if kind is int else float(text)
        except ValueError:
            wanted = "an integer" if kind is int else "a number"
            raise InputError(key, text, f"must be {wanted}") from None
    if kind is str:
        return text
    raise InputError(key, text, "cannot be set from the command line")
