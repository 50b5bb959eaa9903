"""Constants as tensors, copied to a device once."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from flashtalk.ops.eager import is_plain

Values = tuple[float, ...] | tuple[tuple[float, ...], ...]
_KEPT = 64


def constant(values: Values, like: Tensor) -> Tensor:
    """Returns ``values`` in the dtype and on the device of ``like``; recent ones are cached.

    Created in every call they would be copied from the host, which synchronises a GPU.
    """
    if torch.compiler.is_compiling() or not is_plain(like):
        return torch.tensor(values, dtype=like.dtype, device=like.device)
    return _kept(values, like.dtype, like.device)


@functools.lru_cache(_KEPT)
def _kept(values: Values, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # training may use a tensor that inference cached
        return torch.tensor(values, dtype=dtype, device=device)
