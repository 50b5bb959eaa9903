"""Counts the computation and memory traffic of a call, on meta tensors.

A model is built of tensors that have a shape and no values, and called; every matrix product,
convolution and attention in the call is counted. A multiplication and an addition are two
floating-point operations. Norms, activations and rotations are not counted: they are a few
operations per value and limited by memory.

Bytes are those of a perfectly fused program: every weight is read once, and every input and output
of a product, a convolution or an attention is read or written once. Values between two of them and
the scores of an attention are free.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

_CONVOLUTIONS = frozenset({torch.ops.aten.convolution, torch.ops.aten._convolution})
_PRODUCTS = frozenset({torch.ops.aten.mm, torch.ops.aten.addmm})
"""Products of tokens and a weight; other matrix products are of two activations."""


@dataclass(frozen=True)
class Work:
    """The work of one call.

    Args:
        matrix_flops, attention_flops, convolution_flops: floating-point operations by kind.
        matrix_weight_bytes, convolution_weight_bytes: weights that are read.
        activation_bytes: all other bytes that are read or written.
    """

    matrix_flops: int = 0
    attention_flops: int = 0
    convolution_flops: int = 0
    matrix_weight_bytes: int = 0
    convolution_weight_bytes: int = 0
    activation_bytes: int = 0

    @property
    def flops(self) -> int:
        """Returns the total."""
        return self.matrix_flops + self.attention_flops + self.convolution_flops

    @property
    def moved_bytes(self) -> int:
        """Returns the total."""
        return self.matrix_weight_bytes + self.convolution_weight_bytes + self.activation_bytes

    def __add__(self, other: Work) -> Work:
        """Returns the sum of two calls."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Work(*(mine + theirs for mine, theirs in pairs))

    def times(self, count: int) -> Work:
        """Returns the work of that number of calls."""
        return Work(*(count * value for value in dataclasses.astuple(self)))


def count_work(call: Callable[[], object]) -> Work:
    """Counts the work of a call. Its tensors must be on the meta device: elsewhere kernels may be
    decomposed, and tables may be cached that are useless afterwards."""
    counter = _Counter()
    with torch.no_grad(), counter, _Attention(counter):
        call()
    return counter.work


class _Counter(TorchDispatchMode):
    """Counts the operators of a call."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = Work()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry:
            return self._parts(func, args, given)
        result = func(*args, **given)
        flops = flop_registry[packet](*args, **given, out_val=result)
        moved = _bytes(args) + _bytes((result,))
        if packet in _CONVOLUTIONS:
            weight = _bytes(args[1:2])
            self.work += Work(
                convolution_flops=flops,
                convolution_weight_bytes=weight,
                activation_bytes=moved - weight,
            )
        else:
            weight = _bytes(args[-1:]) if packet in _PRODUCTS else 0
            self.work += Work(
                matrix_flops=flops, matrix_weight_bytes=weight, activation_bytes=moved - weight
            )
        return result

    def _parts(self, func: Any, args: tuple[Any, ...], given: Mapping[str, Any]) -> Any:
        """Decomposes an operator and counts its parts; runs it as a whole if that is impossible."""
        if func.namespace == "aten":
            with self:
                made = func.decompose(*args, **given)
            if made is not NotImplemented:
                return made
        return func(*args, **given)


class _Attention(TorchFunctionMode):
    """Counts attention before it is decomposed into matrix products with scores between them."""

    def __init__(self, counter: _Counter) -> None:
        super().__init__()
        self._counter = counter

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **given)
        q, k, v = (*args, *(given[name] for name in ("query", "key", "value") if name in given))[:3]
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        self._counter.work += Work(
            attention_flops=sdpa_flop_count(_four(q), _four(k), _four(v)),
            activation_bytes=_bytes((q, k, v, out)),
        )
        return out


def _four(x: Tensor) -> tuple[int, int, int, int]:
    """Returns batch, heads, tokens, width."""
    shape = (1, 1, *x.shape)
    return math.prod(shape[:-3]), shape[-3], shape[-2], shape[-1]


def _bytes(values: Sequence[object]) -> int:
    return sum(
        value.numel() * value.element_size() for value in values if isinstance(value, Tensor)
    )
