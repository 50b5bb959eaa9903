"""Fields, arguments and key parts of the Redis store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from services.gateway.store.codec import ArraysByDigest


def key_parts(key_name: str, kind: str) -> tuple[str, ...]:
    """Returns the Redis key prefix for data of an API key; names have no colon."""
    return ("key", key_name, kind) if key_name else (kind,)


def as_ms(seconds: float) -> int:
    """Converts seconds to whole milliseconds, rounded up."""
    return math.ceil(seconds * 1000)


def array_arguments(wanted: ArraysByDigest, sent: ArraysByDigest) -> list[Any]:
    """Returns the arguments of a script: number and digests of all arrays, then what is sent."""
    contents = [item for digest, array in sent.items() for item in (digest, array.tobytes())]
    return [len(wanted), *wanted, *contents]


def field_pairs(flat: Sequence[Any]) -> dict[bytes, bytes]:
    """Returns the fields of a hash from names and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def array_fields(fields: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Returns arrays by digest from the fields of a hash."""
    return {name[1:]: data for name, data in fields.items() if name.startswith(b"a")}
