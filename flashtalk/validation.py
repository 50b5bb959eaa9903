"""JSON to frozen dataclasses and back, checked by pydantic against the types of the fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from flashtalk.errors import InputError

T = TypeVar("T")
_UNKNOWN = "unexpected_keyword_argument"

adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
"""Returns pydantic's validator and serialiser of a type, built at the first use."""


class JsonConfig:
    """Base of a configuration: a frozen dataclass that is stored as JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-ready dictionary for ``from_dict``."""
        values: dict[str, Any] = adapter(type(self)).dump_python(self, mode="json")
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Reads a dictionary of ``to_dict``. Raises InputError as ``validate``."""
        return validate(cls, values)


def validate(kind: type[T], values: object, where: str = "") -> T:
    """Returns the dataclass ``kind`` of decoded JSON.

    Types are not converted, except that lists become tuples and whole numbers become floats:
    True and 4.0 are not whole numbers, "4" is not a number.

    Args:
        kind: a dataclass. The description of a field (``pydantic.Field``), if any, is the limit
            in its errors.
        values: as ``json.loads`` returns them.
        where: name of the values, before the name of the field in errors.

    Raises:
        InputError: not an object; an unknown or missing field; a value of another type; or raised
            by ``kind`` itself.
    """
    checker: TypeAdapter[T] = adapter(kind)
    try:
        # From text, because strict types accept a list for a tuple only there.
        return checker.validate_json(json.dumps(values), strict=True, extra="forbid")
    except ValidationError as error:
        fields = checker.json_schema().get("properties", {})
        raise _input_error(error, fields, where) from None


def require(fixed: Mapping[str, object], values: Mapping[str, object]) -> None:
    """Raises InputError if ``values`` have another value than ``fixed`` under one of its names."""
    for name, value in fixed.items():
        given = values.get(name, value)
        if given != value or isinstance(given, bool) != isinstance(value, bool):
            raise InputError(name, given, f"only {value} is implemented")


def _input_error(error: ValidationError, fields: dict[str, Any], where: str) -> InputError:
    mistakes = error.errors(include_url=False)
    # An unknown field first: a misspelled name, or a file of another kind, has missing ones too.
    mistake = next((m for m in mistakes if m["type"] == _UNKNOWN), mistakes[0])
    path = [str(part) for part in mistake["loc"]]
    value, limit = mistake["input"], mistake["msg"].removeprefix("Input should be ")
    described = fields.get(path[0], {}).get("description") if path else None
    if mistake["type"] == "missing" and len(path) == 1:
        missing = [str(m["loc"][0]) for m in mistakes if m["type"] == "missing"]
        path, value, limit = [", ".join(missing)], "missing", "required"
    elif mistake["type"] == _UNKNOWN:
        limit = f"one of {', '.join(fields)}"
    elif len(path) > 1:
        limit = f"{limit} (item {'.'.join(path[1:])})"
    name = ": ".join(filter(None, (where, *path[:1])))
    return InputError(name or "values", value, described or limit)
