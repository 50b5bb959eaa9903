"""Detects eager execution on a CPU, where the cost of operations is passes over memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_PLAIN = (Tensor, nn.Parameter)


def is_plain(x: Tensor) -> bool:
    """Whether ``x`` is a plain tensor with values, not a tensor subclass."""
    return type(x) in _PLAIN


def on_cpu(x: Tensor) -> bool:
    """Whether CPU kernels compute with ``x``."""
    return x.device.type == "cpu" and is_plain(x)


def works_in_blocks(x: Tensor) -> bool:
    """Whether an operation on ``x`` may run in manual blocks: a CPU, no gradients, no tracing.

    A compiler fuses such operations, and a GPU has its own kernels for them.
    """
    eager = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return on_cpu(x) and eager
