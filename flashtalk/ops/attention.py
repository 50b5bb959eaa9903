"""Unmasked attention with the fastest kernel that the device, dtype and shape allow.

Legend: B batch, N query tokens, M key tokens, H heads, D head width.

Every caller stores this function in an attribute (the attention seam), so that a parallel
implementation can replace it without changing a forward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from flashtalk.errors import InputError
from flashtalk.ops import cpu_attention
from flashtalk.ops.eager import on_cpu
from flashtalk.ops.flash_kernels import KERNELS, PACKAGES, REFUSED, flash_attention
from flashtalk.ops.linear import onednn_multiplies
from flashtalk.ops.token_slice import TokenSlice
from flashtalk.ops.widened import is_widened

Backend = Literal["flash3", "flash4", "cudnn", "flash2", "product", "sdpa"]
AttentionCore = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values to the attention of these queries."""
SharedAttentionCore = Callable[[Tensor, Tensor, Tensor, TokenSlice], Tensor]
"""The same of a sequence that processes may share, and which of its tokens these are."""

BACKENDS: tuple[Backend, ...] = get_args(Backend)
_HALF = (torch.float16, torch.bfloat16)
_FLASH_MAX_HEAD_DIM = {"flash3": 256, "flash4": 128, "flash2": 256}
_CUDNN_MAX_HEAD_DIM = 128
_MANY_SCORES = 1 << 20
_AMPERE, _HOPPER, _BLACKWELL = 8, 9, 10
# Major compute capabilities that each kernel supports.
_CAPABILITIES = {
    "flash3": (_HOPPER,),
    "flash4": (_HOPPER, _BLACKWELL),
    "flash2": (_AMPERE, _HOPPER, _BLACKWELL, 11, 12),
}
# If cuDNN has no kernel for a shape, PyTorch uses the next of these.
_CUDNN_FIRST = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def attention(
    q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor, *, backend: Backend | None = None
) -> Tensor:
    """``softmax(q k^T / sqrt(D)) v`` for every head.

    Args:
        q_BNHD: [B, N, H, D] queries.
        k_BMHD, v_BMHD: [B, M, H, D] keys and values, same dtype and device as the queries.
        backend: kernel to use; ``None`` selects the fastest usable one (``choose_backend``).

    Returns:
        [B, N, H, D] in the dtype of the queries.

    Raises:
        InputError: the given ``backend`` cannot run these tensors here.
    """
    if backend is None:
        scores = q_BNHD.shape[1] * k_BMHD.shape[1] if on_cpu(q_BNHD) else 0
        computed = torch.float32 if is_widened(q_BNHD) else q_BNHD.dtype
        backend = choose_backend(q_BNHD.device, computed, q_BNHD.shape[-1], scores)
    elif not _fits(backend, q_BNHD.device, q_BNHD.dtype, q_BNHD.shape[-1]):
        raise InputError(
            "backend",
            backend,
            f"cannot run {q_BNHD.dtype} heads of {q_BNHD.shape[-1]} "
            f"on {q_BNHD.device}; here: {', '.join(available_backends(q_BNHD.device))}",
        )
    if is_widened(q_BNHD):
        wide_BNHD = attention(q_BNHD.float(), k_BMHD.float(), v_BMHD.float(), backend=backend)
        return wide_BNHD.to(q_BNHD.dtype)
    if backend in PACKAGES:
        return flash_attention(backend, q_BNHD, k_BMHD, v_BMHD)
    if backend == "product":
        return cpu_attention.product_attention(q_BNHD, k_BMHD, v_BMHD)
    q, k, v = (t.transpose(1, 2) for t in (q_BNHD, k_BMHD, v_BMHD))
    if backend == "cudnn":
        with sdpa_kernel(_CUDNN_FIRST, set_priority=True):
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    with cpu_attention.cpu_attention(q):
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def frame_attention(
    q_BNHD: Tensor,
    k_BFMHD: Tensor,
    v_BFMHD: Tensor,
    tokens: TokenSlice,
    *,
    backend: Backend | None = None,
) -> Tensor:
    """Attention of every token to the keys of its own frame.

    Args:
        q_BNHD: [B, N, H, D] queries of a whole sequence, frame after frame.
        k_BFMHD, v_BFMHD: [B, F, M, H, D] keys and values of F frames.
        tokens: all N of them.
        backend: see ``attention``.

    Returns:
        [B, N, H, D].
    """
    frames = k_BFMHD.shape[1]
    q_FNHD = q_BNHD.unflatten(1, (frames, -1)).flatten(0, 1)
    keys, values = k_BFMHD.flatten(0, 1), v_BFMHD.flatten(0, 1)
    out_FNHD = attention(q_FNHD, keys, values, backend=backend)
    return torch.unflatten(out_FNHD, 0, (-1, frames)).flatten(1, 2)


def whole_attention(
    q_BNHD: Tensor,
    k_BNHD: Tensor,
    v_BNHD: Tensor,
    tokens: TokenSlice,
    *,
    backend: Backend | None = None,
) -> Tensor:
    """``attention`` among all tokens of a sequence, in a single process."""
    return attention(q_BNHD, k_BNHD, v_BNHD, backend=backend)


def available_backends(device: torch.device | str) -> tuple[Backend, ...]:
    """Returns kernels for half-precision heads of 128 on ``device``, fastest first; on a CPU the
    order is that of float32, the default there."""
    where = torch.device(device)
    usual = torch.float32 if where.type == "cpu" else torch.bfloat16
    first = choose_backend(where, usual, 128)
    fitting = [b for b in BACKENDS if _fits(b, where, torch.bfloat16, 128)]
    return tuple(sorted(fitting, key=lambda backend: backend != first))


def read_backend(name: str, device: torch.device) -> Backend | None:
    """Returns a kernel by name; ``auto`` is ``None``, the fastest for each shape.

    Raises:
        InputError: the kernel is not available on the device.
    """
    if name == "auto":
        return None
    for backend in available_backends(device):
        if backend == name:
            return backend
    limit = f"auto, {', '.join(available_backends(device))}"
    raise InputError("attention", name, limit)


def choose_backend(
    device: torch.device, dtype: torch.dtype, head_dim: int, scores: int = _MANY_SCORES
) -> Backend:
    """Returns the fastest kernel; ``scores`` is query tokens times key tokens.

    On GPUs FlashAttention-3 (Hopper), 4 (Hopper, Blackwell), cuDNN, FlashAttention-2, SDPA: on an
    H100 with heads of 128 they reach about 620, 620, 600 and 370 TFLOP/s. cuDNN is used on Hopper
    and newer only: on older GPUs PyTorch's own flash kernel is as fast. For CPUs see
    ``cpu_attention``.
    """
    if device.type == "cpu":
        by_products = cpu_attention.prefers_products(dtype, head_dim, scores)
        autocast = torch.is_autocast_enabled("cpu")
        return "product" if by_products and not autocast else "sdpa"
    for backend in BACKENDS:
        old = device.type == "cuda" and _capability(device) < _HOPPER
        if _fits(backend, device, dtype, head_dim) and not (backend == "cudnn" and old):
            return backend
    return "sdpa"


def _fits(backend: Backend, device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether ``backend`` is available here and supports heads of this dtype and width."""
    if backend == "sdpa":
        return True
    if backend == "product":
        return device.type == "cpu" and onednn_multiplies(dtype)
    if device.type != "cuda" or dtype not in _HALF or head_dim % 8:
        return False
    if backend == "cudnn":
        recent = _capability(device) >= _AMPERE
        return recent and head_dim <= _CUDNN_MAX_HEAD_DIM and _cudnn_enabled()
    installed = backend in KERNELS and backend not in REFUSED
    fits = head_dim <= _FLASH_MAX_HEAD_DIM[backend]
    return installed and fits and _capability(device) in _CAPABILITIES[backend]


def _capability(device: torch.device) -> int:
    """Returns the major compute capability; a constant when traced."""
    major: int = torch.cuda.get_device_properties(device).major
    return major


def _cudnn_enabled() -> bool:
    built: bool = torch.backends.cudnn.is_available()
    allowed: bool = torch.backends.cuda.cudnn_sdp_enabled()
    return built and allowed
