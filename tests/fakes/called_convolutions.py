"""Which convolutions torch is asked for while a block runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Called:
    """One call of ``aten.convolution``, or of oneDNN's form of it."""

    dtype: torch.dtype
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    groups: int
    transposed: bool
    in_channels: int
    out_columns: int


class CalledConvolutions(TorchDispatchMode):
    """``seen`` holds them in order; ``planted`` may be overridden to put faults into results."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[Called] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        aten = torch.ops.aten
        if func in (aten.convolution.default, aten.mkldnn_convolution.default):
            if func is aten.convolution.default:
                x, weight, _, stride, _, _, transposed, _, groups = args
            else:
                x, weight, _, _, stride, _, groups = args
                transposed = False
            called = Called(
                dtype=x.dtype,
                kernel=tuple(weight.shape[2:]),
                stride=tuple(stride),
                groups=groups,
                transposed=transposed,
                in_channels=x.shape[1],
                out_columns=result.shape[-1],
            )
            self.seen.append(called)
            return self.planted(called, result)
        return result

    def planted(self, called: Called, result: torch.Tensor) -> torch.Tensor:
        """What the caller gets instead of ``result``; itself, unless a test says otherwise."""
        return result
