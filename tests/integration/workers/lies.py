"""Tensors and pictures that are not what they say, and the refusal that each of them has to get."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import numpy as np

from flashtalk.serving.errors import Reason, field_of, reason_of
from flashtalk.v1 import media_pb2, tensor_pb2
from flashtalk.wire import tensor_to_proto
from tests.integration.workers.test_workers import refused

F32, F16 = tensor_pb2.DATA_TYPE_FLOAT32, tensor_pb2.DATA_TYPE_FLOAT16
Tensor = tensor_pb2.Tensor
Refusal = tuple[str, Awaitable[Any], str]


def claim(shape: Sequence[int], data: bytes = bytes(16), data_type: int = F32) -> Tensor:
    """A tensor that says of its bytes whatever it likes."""
    return Tensor(shape=shape, data=data, data_type=data_type)  # type: ignore[arg-type]


def minus_one(axes: int) -> Tensor:
    """A tensor whose axes were written as -1, as a careless client would."""
    negative = b"\xff" * 9 + b"\x01"
    packed = b"\x12" + bytes([10 * axes]) + negative * axes
    return Tensor.FromString(b"\x08\x01" + packed + b"\x1a\x04" + bytes(4))


def lies(shape: Sequence[int]) -> list[tuple[str, Tensor]]:
    """Everything that is wrong about a tensor that should be float32 of this shape."""
    count = int(np.prod(shape))
    good = np.zeros(shape, np.float32)
    nan, infinite = good.copy(), good.copy()
    nan.flat[-1], infinite.flat[0] = np.nan, -np.inf
    return [
        ("none at all", Tensor()),
        ("no axes", claim([], bytes(4))),
        ("a byte short", claim(shape, bytes(4 * count - 1))),
        ("a byte more", claim(shape, bytes(4 * count + 1))),
        ("no bytes", claim(shape, b"")),
        ("an axis more", claim([*shape, 1], bytes(4 * count))),
        ("seven axes", claim([1] * 7, bytes(4))),
        ("a million axes", claim([1] * 1_000_000, bytes(4))),
        ("empty axes", claim([0] * len(shape), b"")),
        ("negative axes", minus_one(len(shape))),
        ("huge axes", claim([*shape[:-2], 2**32 - 1, 2**32 - 1][-len(shape) :])),
        ("half precision", claim(shape, bytes(2 * count), F16)),
        ("said to be half precision", claim(shape, bytes(4 * count), F16)),
        ("bytes", claim(shape, bytes(count), tensor_pb2.DATA_TYPE_UINT8)),
        ("no type", claim(shape, bytes(4 * count), 0)),
        ("type 99", claim(shape, bytes(4 * count), 99)),
        ("NaN", tensor_to_proto(nan)),
        ("infinity", tensor_to_proto(infinite)),
    ]


def pictures() -> list[tuple[str, media_pb2.RgbImage, str]]:
    """Portraits that are none, and the field to blame."""
    cases = [
        ("short", 48, 32, -1, "rgb"),
        ("long", 48, 32, 1, "rgb"),
        ("flat", 48, 0, 0, "size"),
        ("huge", 2**32 - 1, 2**32 - 1, 0, "size"),
        ("turned", 32, 48, 0, "size"),
    ]
    made = []
    for name, width, height, more, field in cases:
        size = media_pb2.VideoSize(width_px=width, height_px=height)
        made.append((name, media_pb2.RgbImage(size=size, rgb=bytes(48 * 32 * 3 + more)), field))
    return made


async def all_refused(
    refusals: Sequence[Refusal],
    good: Callable[[], Awaitable[Any]],
    pending: Callable[[], int],
) -> None:
    """Each is refused as INVALID_FIELD of its field; the good call gives the same before and after.

    Args:
        refusals: name, call and field of each.
        good: a call that is as it should be.
        pending: calls that wait in the worker.
    """
    before = await good()
    for name, call, field in refusals:
        error = await refused(call)
        found = (error.code(), reason_of(error), field_of(error))
        wanted = (grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD, field)
        assert found == wanted, (name, error.details())
        assert (error.details() or "").startswith(f"{field}: "), name
        assert pending() == 0, name
    assert await good() == before
