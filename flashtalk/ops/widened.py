"""bfloat16 on processors without instructions for it: products are computed in float32.

oneDNN and MKL emulate bfloat16 products there. On a core of an Intel Xeon with AVX-512 but without
its bfloat16 instructions a step of a small transformer took four times as long as in float32, and
so did a VAE's decoder (docs/performance.md). Here the inputs are widened without loss, and the
result is rounded once, as the instructions do. Weights stay bfloat16 in memory.
"""

from __future__ import annotations

import platform

import torch
from torch import Tensor

from flashtalk.ops.eager import on_cpu

_X86 = ("x86_64", "AMD64")

EMULATES_BF16 = platform.machine() in _X86 and not (
    torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
)
"""Whether this processor's kernels only imitate bfloat16 products."""


def is_widened(x: Tensor) -> bool:
    """Whether a product of ``x`` is computed in float32 and rounded: bfloat16 inference on a CPU
    that would emulate it."""
    return (
        EMULATES_BF16
        and x.dtype == torch.bfloat16
        and on_cpu(x)
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def wide(x: Tensor | None) -> Tensor | None:
    """Returns the values in float32; None for None."""
    return None if x is None else x.float()
