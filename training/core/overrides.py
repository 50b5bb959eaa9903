"""``key=value`` overrides of a frozen config dataclass, checked against the field types.

A key is a dotted path (``trainer.lr``) or the end of one (``guidance.audio``, ``lr``): of a field
at the top, else of one in the trainer section, else of the only field of the tree with that end.
"""

import dataclasses
import difflib
import types
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from flashtalk.errors import InputError

ConfigT = TypeVar("ConfigT")
PREFERRED_SECTION = "trainer"


def apply_overrides(config: ConfigT, assignments: Sequence[str]) -> ConfigT:
    """Returns a copy of ``config`` with ``key=value`` strings applied in order.

    Raises:
        InputError: no ``=``, an unknown or ambiguous key, or a value of the wrong type.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise InputError("override", assignment, "must look like key=value")
        path = _resolve(config, key.strip())
        config = cast(ConfigT, _replace(config, path, key.strip(), text.strip()))
    return config


def field_paths(config: object) -> list[str]:
    """Returns the dotted paths of all fields that can be overridden, in declaration order."""
    return [".".join(path) for path in _leaves(config)]


def _leaves(config: object, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for field in dataclasses.fields(cast(Any, config)):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, (*prefix, field.name))
        else:
            yield (*prefix, field.name)


def _resolve(config: object, key: str) -> tuple[str, ...]:
    paths = list(_leaves(config))
    wanted = tuple(key.split("."))
    matches = [path for path in paths if path == wanted]
    if not matches:
        matches = [path for path in paths if path == (PREFERRED_SECTION, *wanted)]
        matches = matches or [path for path in paths if path[-len(wanted) :] == wanted]
    if len(matches) == 1:
        return matches[0]
    names = [".".join(path) for path in (matches or paths)]
    if matches:
        raise InputError("override", key, f"is ambiguous, give one of {', '.join(names)}")
    leaves = {path[-1]: ".".join(path) for path in paths}
    near = difflib.get_close_matches(wanted[-1], leaves, n=3)
    hint = ", ".join(leaves[name] for name in near) if near else ", ".join(names)
    raise InputError("override", key, f"is not a field of this recipe; did you mean {hint}?")


def _replace(config: object, path: tuple[str, ...], key: str, text: str) -> object:
    head, rest = path[0], path[1:]
    if rest:
        value = _replace(getattr(config, head), rest, key, text)
    else:
        value = parse_value(key, text, get_type_hints(type(config))[head])
    return dataclasses.replace(cast(Any, config), **{head: value})


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
