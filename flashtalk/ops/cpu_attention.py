"""Attention on CPUs, where torch's fused kernel fails in half precision or is slow.

torch (2.13) packs half-precision keys for oneDNN if the processor has instructions for it, but its
packing is compiled for AVX-512 only. If torch itself runs at a lower level (a processor with
AVX2-VNNI-2, or ATEN_CPU_CAPABILITY=avx2) it raises RuntimeError. The plain kernel works.

The fused kernel uses MKL's matrix products; without AMX it takes as long in bfloat16 as in float32.
Two products by oneDNN (``linear``) and a softmax took 0.55 of its time in float32 and 0.35 in
bfloat16, on a core of an EPYC with 576 tokens and more: MKL uses half of the vector width of
processors by other vendors than Intel. On a core of a Xeon with AVX-512 they took 1.35 of it in
float32. In bfloat16 this rounds the scores, unlike the fused kernel.

Legend: B batch, N query tokens, M key tokens, H heads, D head width.
"""

from __future__ import annotations

import contextlib
import platform
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from flashtalk.ops.linear import linear, onednn_multiplies

_X86 = ("x86_64", "AMD64")
_HALF = (torch.bfloat16, torch.float16)
_BELOW_AVX512 = ("DEFAULT", "AVX2")
# Scores of one head per block: about the size of a core's cache.
_BLOCK_SCORES = 1 << 19
# With fewer scores, starting the small kernels takes longer than running them.
_FEWEST_SCORES = 1 << 16
_NARROWEST_HEAD = 64  # in float32

REFUSES_HALF = (
    platform.machine() in _X86 and torch.backends.cpu.get_cpu_capability() in _BELOW_AVX512
)
"""Whether the packed kernel cannot be relied on in this process."""

_HAS_AMX = torch.cpu._is_amx_tile_supported()


def _vendor() -> str:
    """Returns the vendor of the processor (Linux); empty if unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.split(":")[-1].strip() for line in lines if line.startswith("vendor_id")), "")


_MKL_AT_FULL_WIDTH = _vendor() == "GenuineIntel"


def prefers_products(dtype: torch.dtype, head_dim: int, scores: int) -> bool:
    """Whether ``product_attention`` is faster for this number of scores per head.

    The fused kernel has a special implementation for bfloat16 with AMX.
    """
    if scores < _FEWEST_SCORES or not onednn_multiplies(dtype) or torch.is_grad_enabled():
        return False
    if dtype == torch.float32:
        return head_dim >= _NARROWEST_HEAD and not _MKL_AT_FULL_WIDTH
    return not _HAS_AMX and not REFUSES_HALF


def cpu_attention(x: Tensor) -> AbstractContextManager[object]:
    """Context in which ``F.scaled_dot_product_attention`` uses a kernel that works here.

    Args:
        x: input of the attention; its device and dtype decide, including autocast.
    """
    half = x.dtype in _HALF or torch.is_autocast_enabled("cpu")
    if REFUSES_HALF and half and x.device.type == "cpu":
        return sdpa_kernel(SDPBackend.MATH)
    return contextlib.nullcontext()


def product_attention(q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor) -> Tensor:
    """``softmax(q k^T / sqrt(D)) v`` by matrix products, a block of queries of a head at a time.

    Args:
        q_BNHD: [B, N, H, D]; k_BMHD, v_BMHD: [B, M, H, D], all of one dtype.

    Returns:
        [B, N, H, D] in that dtype; intermediate values have it too.
    """
    attend = _operator if torch.compiler.is_compiling() else _attend_by_products
    out: Tensor = attend(q_BNHD, k_BMHD, v_BMHD)
    return out


def _attend_by_products(q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor) -> Tensor:
    batch, tokens, heads, width = q_BNHD.shape
    rows = max(1, _BLOCK_SCORES // k_BMHD.shape[1])
    out = torch.empty((batch, tokens, heads, width), dtype=q_BNHD.dtype)
    q_BHND = (q_BNHD * width**-0.5).transpose(1, 2).contiguous()
    k_BHMD = k_BMHD.transpose(1, 2).contiguous()
    v_BHDM = v_BMHD.permute(0, 2, 3, 1).contiguous()
    for sample in range(batch):
        for head in range(heads):
            k_MD, v_DM = k_BHMD[sample, head], v_BHDM[sample, head]
            for start in range(0, tokens, rows):
                block = slice(start, start + rows)
                weights = torch.softmax(linear(q_BHND[sample, head, block], k_MD), dim=-1)
                out[sample, block, head] = linear(weights, v_DM)
    return out


_operator = torch.library.custom_op(
    "flashtalk::product_attention", _attend_by_products, mutates_args=()
)


@_operator.register_fake
def _(q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor) -> Tensor:
    return torch.empty_like(q_BNHD, memory_format=torch.contiguous_format)
