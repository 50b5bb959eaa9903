"""Serialised messages with large fields put in from where they lie.

Protobuf copies a large field into a message and then once more out of it. Its encoding allows
fields in any order, so a message may be serialised without them, and they are joined on behind it:
one copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from flashtalk.v1 import tensor_pb2

Buffer = bytes | memoryview
_LENGTH_DELIMITED = 2
_SEVEN_BITS = 0x7F


def spliced(message: Message, *fields: tuple[int, Sequence[Buffer]]) -> bytes:
    """A message serialised, with more fields.

    Args:
        message: without these fields.
        fields: number of each, and what it holds: the pieces of a serialised message, or bytes.
    """
    parts: list[Buffer] = [message.SerializeToString()]
    for number, pieces in fields:
        parts.append(_head(number, pieces))
        parts += pieces
    return b"".join(parts)


def tensor_pieces(arrays: Sequence[npt.NDArray[np.float32]], shape: Sequence[int]) -> list[Buffer]:
    """A ``flashtalk.v1.Tensor`` of float32, as pieces of its message.

    Args:
        arrays: its elements in row-major order, one array after the other.
        shape: of all of them together.
    """
    head = tensor_pb2.Tensor(data_type=tensor_pb2.DATA_TYPE_FLOAT32, shape=shape)
    data = [np.ascontiguousarray(array, "<f4").data.cast("B") for array in arrays]
    return [
        head.SerializeToString(),
        _head(tensor_pb2.Tensor.DATA_FIELD_NUMBER, data),
        *data,
    ]


def as_sent(request: Any) -> bytes:
    """The serialiser of calls whose requests are bytes already, or messages."""
    if isinstance(request, bytes):
        return request
    data: bytes = request.SerializeToString()
    return data


def _head(number: int, pieces: Sequence[Buffer]) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(sum(map(len, pieces)))


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > _SEVEN_BITS:
        found.append(value & _SEVEN_BITS | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
