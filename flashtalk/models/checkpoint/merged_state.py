"""A state dict whose changed tensors are computed when they are read, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Change(Protocol):
    """Something that is added to a tensor."""

    def value(self, shape: torch.Size) -> Tensor:
        """Returns what is added to a tensor of this shape, float32."""

    @property
    def zero(self) -> bool:
        """Whether nothing is added."""


@dataclass(frozen=True)
class LowRank:
    """``scale * up @ down``, as float32.

    Args:
        down: [r, in] (``A``), or of a convolution [r, in, ...].
        up: [out, r] (``B``), or [out, r, 1, ...].
        scale: strength * alpha / r.
    """

    down: Tensor
    up: Tensor
    scale: float

    def value(self, shape: torch.Size) -> Tensor:
        """Returns what is added to a tensor of this shape, float32."""
        product = self.up.flatten(1).float() @ self.down.flatten(1).float()
        return (self.scale * product).reshape(shape)

    @property
    def zero(self) -> bool:
        """Whether nothing is added."""
        return self.scale == 0 or not bool(self.up.any()) or not bool(self.down.any())


@dataclass(frozen=True)
class Difference:
    """``scale * difference``, as float32."""

    difference: Tensor
    scale: float

    def value(self, shape: torch.Size) -> Tensor:
        """Returns what is added to a tensor of this shape, float32."""
        return (self.scale * self.difference.float()).reshape(shape)

    @property
    def zero(self) -> bool:
        """Whether nothing is added."""
        return not bool(self.difference.any())


class MergedState(Mapping[str, Tensor]):
    """Names and tensors; changed ones are computed anew at each access.

    The sum is computed in float32 and rounded once, to the dtype of the unchanged tensor. So the
    memory of a whole merged network is never needed.

    Args:
        tensors: the unchanged tensors, possibly memory-mapped.
        changes: what is added to some of them, in order.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], changes: Mapping[str, Sequence[Change]]
    ) -> None:
        self._tensors, self._changes = tensors, changes

    def __getitem__(self, name: str) -> Tensor:
        """Returns a tensor."""
        tensor = self._tensors[name]
        if name not in self._changes:
            return tensor
        total = tensor.float()
        for change in self._changes[name]:
            total = total + change.value(tensor.shape)
        return total.to(tensor.dtype)

    def __contains__(self, name: object) -> bool:
        """Whether a tensor is there; computes nothing."""
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        """Iterates over the names."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """Returns the number of tensors."""
        return len(self._tensors)

    def shape(self, name: str) -> torch.Size:
        """Returns the shape of a tensor; computes nothing."""
        return self._tensors[name].shape


def shape_of(state: Mapping[str, Tensor], name: str) -> torch.Size:
    """Returns the shape of a tensor, without computing it."""
    return state.shape(name) if isinstance(state, MergedState) else state[name].shape
