"""Serialises messages with large fields without extra copies.

Protobuf copies a large field into a message and again into the serialised bytes. Its encoding
allows fields in any order, so the message is serialised without them and they are appended: one
copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import Message

from flashtalk.arrays import FloatArray
from flashtalk.v1 import tensor_pb2

Buffer = bytes | memoryview
_LENGTH_DELIMITED = 2
_SEVEN_BITS = 0x7F


def spliced(message: Message, *fields: tuple[int, Sequence[Buffer]]) -> bytes:
    """Serialises a message and appends fields.

    Args:
        message: the message without these fields.
        fields: number and content of each: the pieces of a serialised message, or bytes.
    """
    parts: list[Buffer] = [message.SerializeToString()]
    for number, pieces in fields:
        parts.append(_head(number, pieces))
        parts += pieces
    return b"".join(parts)


def tensor_pieces(arrays: Sequence[FloatArray], shape: Sequence[int]) -> list[Buffer]:
    """Returns a float32 ``flashtalk.v1.Tensor`` as pieces of its serialised message.

    Args:
        arrays: the elements in row-major order, as consecutive arrays.
        shape: shape of the whole tensor.
    """
    head = tensor_pb2.Tensor(data_type=tensor_pb2.DATA_TYPE_FLOAT32, shape=shape)
    data = [np.ascontiguousarray(array, "<f4").data.cast("B") for array in arrays]
    return [
        head.SerializeToString(),
        _head(tensor_pb2.Tensor.DATA_FIELD_NUMBER, data),
        *data,
    ]


def as_sent(request: Any) -> bytes:
    """Serialises a request; passes bytes through."""
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
