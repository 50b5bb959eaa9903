"""Attention on CPUs whose packed half-precision kernel refuses to run.

torch (2.13) packs half-precision keys for oneDNN wherever the processor has instructions for it,
but its packing is compiled for AVX-512 only: where torch itself runs at a lower level (a processor
with AVX2-VNNI-2, or ATEN_CPU_CAPABILITY=avx2) it raises RuntimeError. The plain kernel is right.
"""

from __future__ import annotations

import contextlib
import platform
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

_X86 = ("x86_64", "AMD64")
_HALF = (torch.bfloat16, torch.float16)
_BELOW_AVX512 = ("DEFAULT", "AVX2")

REFUSES_HALF = (
    platform.machine() in _X86 and torch.backends.cpu.get_cpu_capability() in _BELOW_AVX512
)
"""Whether the packed kernel cannot be relied on in this process."""


def cpu_attention(x: Tensor) -> AbstractContextManager[object]:
    """While it is open, ``F.scaled_dot_product_attention`` takes a kernel that runs here.

    Args:
        x: what attention is computed of: its device and dtype decide, autocast included.
    """
    half = x.dtype in _HALF or torch.is_autocast_enabled("cpu")
    if REFUSES_HALF and half and x.device.type == "cpu":
        return sdpa_kernel(SDPBackend.MATH)
    return contextlib.nullcontext()
