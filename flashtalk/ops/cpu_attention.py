"""Attention on CPUs, where torch's fused kernel refuses half precision or gains nothing from it.

torch (2.13) packs half-precision keys for oneDNN wherever the processor has instructions for it,
but its packing is compiled for AVX-512 only: where torch itself runs at a lower level (a processor
with AVX2-VNNI-2, or ATEN_CPU_CAPABILITY=avx2) it raises RuntimeError. The plain kernel is right.

Without AMX the fused kernel takes as long in bfloat16 as in float32. oneDNN's matrix products do
gain: two of them and a softmax took 0.28 of its time (docs/performance.md). The scores are rounded
to bfloat16 there, which the fused kernel does not do.

Legend: B batch, N query tokens, M key tokens, H heads, D head width.
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
# Scores of one head that are held at once: 2 MiB, about what a core's cache takes.
_BLOCK_SCORES = 1 << 20

REFUSES_HALF = (
    platform.machine() in _X86 and torch.backends.cpu.get_cpu_capability() in _BELOW_AVX512
)
"""Whether the packed kernel cannot be relied on in this process."""

MULTIPLIES_BFLOAT16 = (
    not REFUSES_HALF
    and torch.backends.mkldnn.is_available()
    and torch.cpu._is_avx512_bf16_supported()
    and not torch.cpu._is_amx_tile_supported()
)
"""Whether matrix products in bfloat16 are much faster here than in float32, and AMX is not there,
for which the fused kernel was made."""


def cpu_attention(x: Tensor) -> AbstractContextManager[object]:
    """While it is open, ``F.scaled_dot_product_attention`` takes a kernel that runs here.

    Args:
        x: what attention is computed of: its device and dtype decide, autocast included.
    """
    half = x.dtype in _HALF or torch.is_autocast_enabled("cpu")
    if REFUSES_HALF and half and x.device.type == "cpu":
        return sdpa_kernel(SDPBackend.MATH)
    return contextlib.nullcontext()


def matmul_attention(q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor) -> Tensor:
    """``softmax(q k^T / sqrt(D)) v`` by matrix products, a block of queries of a head at a time.

    Args:
        q_BNHD: [B, N, H, D]; k_BMHD, v_BMHD: [B, M, H, D], all of one dtype.

    Returns:
        [B, N, H, D] in that dtype; what is between has it too.
    """
    batch, tokens, heads, width = q_BNHD.shape
    rows = max(1, _BLOCK_SCORES // k_BMHD.shape[1])
    scaled, out = q_BNHD * width**-0.5, torch.empty_like(q_BNHD)
    for sample in range(batch):
        for head in range(heads):
            k_DM, v_MD = k_BMHD[sample, :, head].t(), v_BMHD[sample, :, head]
            for start in range(0, tokens, rows):
                block = slice(start, start + rows)
                weights = torch.softmax(scaled[sample, block, head] @ k_DM, dim=-1)
                out[sample, block, head] = weights @ v_MD
    return out
