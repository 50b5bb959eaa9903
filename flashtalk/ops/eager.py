"""Where operations run one by one on a CPU, and passes over memory are what they cost."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_PLAIN = (Tensor, nn.Parameter)


def is_plain(x: Tensor) -> bool:
    """Whether ``x`` has values of its own, here: tensors of other kinds only look like one."""
    return type(x) in _PLAIN


def on_cpu(x: Tensor) -> bool:
    """Whether kernels of a CPU compute with ``x``."""
    return x.device.type == "cpu" and is_plain(x)


def works_in_blocks(x: Tensor) -> bool:
    """Whether an operation on ``x`` may do its parts by hand: a CPU, no gradients, nothing traced.

    A compiler fuses the parts by itself, and a GPU has kernels of its own for them.
    """
    eager = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return on_cpu(x) and eager
