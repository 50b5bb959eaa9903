"""Converts numpy arrays to ``flashtalk.v1.Tensor`` and back; messages are validated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flashtalk.errors import InputError
from flashtalk.v1 import tensor_pb2

MAX_AXES = 6

_TYPES: dict[int, np.dtype[Any]] = {
    tensor_pb2.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    tensor_pb2.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    tensor_pb2.DATA_TYPE_UINT8: np.dtype("u1"),
}
_NUMBERS = {dtype: number for number, dtype in _TYPES.items()}


def tensor_to_proto(
    array: npt.NDArray[Any], message: tensor_pb2.Tensor | None = None
) -> tensor_pb2.Tensor:
    """Converts an array to a message.

    Args:
        array: float32, float16 or uint8, 1 to 6 axes, none empty.
        message: an empty message to fill, part of a larger one; this saves a copy.

    Raises:
        InputError: another type or shape.
    """
    number = _NUMBERS.get(array.dtype.newbyteorder("<"))
    if number is None:
        raise InputError("tensor", array.dtype, "float32, float16 or uint8")
    if not 1 <= array.ndim <= MAX_AXES or 0 in array.shape:
        raise InputError("tensor", list(array.shape), f"1 to {MAX_AXES} axes, none empty")
    plain = np.ascontiguousarray(array, dtype=_TYPES[number])
    message = tensor_pb2.Tensor() if message is None else message
    message.data_type = number  # type: ignore[assignment]
    message.shape.extend(plain.shape)
    message.data = plain.tobytes()
    return message


def tensor_from_proto(
    message: tensor_pb2.Tensor,
    *,
    field: str,
    shape: Sequence[int | None],
    dtype: npt.DTypeLike = np.float32,
    finite: bool = True,
    own: bool = True,
) -> npt.NDArray[Any]:
    """Converts a message to an array.

    Args:
        message: the received message.
        field: name in errors.
        shape: expected sizes, None for any.
        dtype: expected type; bfloat16 is returned as float32.
        finite: whether NaN and infinity are rejected.
        own: whether the array has its own, writable memory.

    Returns:
        The array.

    Raises:
        InputError: another type or shape, a wrong number of bytes, values that are not finite.
    """
    sizes = tuple(message.shape)
    wanted = np.dtype(dtype)
    if len(sizes) != len(shape) or any(
        want is not None and size != want for size, want in zip(sizes, shape, strict=False)
    ):
        text = ", ".join("any" if want is None else str(want) for want in shape)
        raise InputError(field, list(sizes[: MAX_AXES + 1]), f"shape [{text}]")
    if 0 in sizes:
        raise InputError(field, list(sizes), "no empty axis")
    array = _elements(message, field, math.prod(sizes), wanted, own).reshape(sizes)
    if finite and wanted.kind == "f" and not np.isfinite(array).all():
        raise InputError(field, "NaN or infinite values", "finite values")
    return array


def _elements(
    message: tensor_pb2.Tensor, field: str, count: int, wanted: np.dtype[Any], own: bool
) -> npt.NDArray[Any]:
    half = message.data_type == tensor_pb2.DATA_TYPE_BFLOAT16
    stored = np.dtype("<u2") if half else _TYPES.get(message.data_type)
    if stored is None or (np.dtype(np.float32) if half else stored) != wanted:
        try:
            found = tensor_pb2.DataType.Name(message.data_type)
        except ValueError:
            found = str(message.data_type)
        raise InputError(field, found, f"elements of {wanted}")
    # Checked before any allocation: the shape is not trusted.
    data = message.data  # every access makes a copy
    if len(data) != count * stored.itemsize:
        limit = f"{count * stored.itemsize} bytes for its shape"
        raise InputError(field, f"{len(data)} bytes", limit)
    elements = np.frombuffer(data, stored)
    if half:
        return (elements.astype(np.uint32) << 16).view(np.float32)
    return elements.astype(wanted, copy=own)
