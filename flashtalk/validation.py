"""JSON to frozen dataclasses and back, checked by pydantic against the types of the fields."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Self, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from flashtalk.errors import InputError

T = TypeVar("T")


class JsonConfig:
    """Base of a configuration: a frozen dataclass that is stored as JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-ready dictionary for ``from_dict``."""
        return dataclasses.asdict(cast(Any, self))

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
    checker: TypeAdapter[T] = adapter(cast(Any, kind))
    try:
        # From text, because strict types accept a list for a tuple only there.
        return checker.validate_json(json.dumps(values), strict=True, extra="forbid")
    except ValidationError as error:
        fields = checker.json_schema().get("properties", {})
        raise _input_error(error, fields, where) from None


def require(fixed: Mapping[str, object], values: Mapping[str, object]) -> None:
    """Raises InputError if ``values`` have another value than ``fixed`` under one of its names."""
    for name, value in fixed.items():
        if values.get(name, value) != value:
            raise InputError(name, values[name], f"only {value} is implemented")


@cache
def adapter(kind: type) -> TypeAdapter[Any]:
    """Returns pydantic's validator and serialiser of a type, built at the first use."""
    return TypeAdapter(kind)


def _input_error(error: ValidationError, fields: dict[str, Any], where: str) -> InputError:
    mistakes = error.errors(include_url=False)
    mistake, path = mistakes[0], [str(part) for part in mistakes[0]["loc"]]
    value, limit = mistake["input"], mistake["msg"].removeprefix("Input should be ")
    described = fields.get(path[0], {}).get("description") if path else None
    if mistake["type"] == "missing" and len(path) == 1:
        missing = [str(m["loc"][0]) for m in mistakes if m["type"] == "missing"]
        path, value, limit = [", ".join(missing)], "missing", "required"
    elif mistake["type"] == "unexpected_keyword_argument":
        limit = f"one of {', '.join(fields)}"
    if described:
        path, limit = path[:1], described
    name = ": ".join(filter(None, (where, ".".join(path))))
    return InputError(name or "values", value, limit)
