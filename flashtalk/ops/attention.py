"""Unmasked attention with the fastest kernel that the device, dtype and shape allow.

Legend: B batch, N query tokens, M key tokens, H heads, D head width.

Every caller holds this function in an attribute (the attention seam), so that a parallel form can
take its place without any forward being replaced.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from flashtalk.errors import InputError
from flashtalk.ops.cpu_attention import cpu_attention
from flashtalk.ops.token_slice import TokenSlice

Backend = Literal["flash3", "flash2", "cudnn", "sdpa"]
AttentionCore = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values to the attention of these queries."""
SharedAttentionCore = Callable[[Tensor, Tensor, Tensor, TokenSlice], Tensor]
"""The same of a sequence that processes may share, and which of its tokens these are."""

Function = TypeVar("Function", bound=Callable[..., Any])

BACKENDS: tuple[Backend, ...] = get_args(Backend)
_PACKAGES = {"flash3": "flash_attn_interface", "flash2": "flash_attn"}
_HALF = (torch.float16, torch.bfloat16)
_FLASH_MAX_HEAD_DIM = 256
_CUDNN_MAX_HEAD_DIM = 128
_AMPERE, _HOPPER = (8, 0), (9, 0)


def attention(
    q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor, *, backend: Backend | None = None
) -> Tensor:
    """``softmax(q k^T / sqrt(D)) v`` for every head.

    Args:
        q_BNHD: [B, N, H, D] queries.
        k_BMHD, v_BMHD: [B, M, H, D] keys and values, same dtype and device as the queries.
        backend: kernel to use; ``None`` picks the fastest that fits (``choose_backend``).

    Returns:
        [B, N, H, D] in the dtype of the queries.

    Raises:
        InputError: ``backend`` is named and cannot run these tensors here.
    """
    if backend is None:
        backend = choose_backend(q_BNHD.device, q_BNHD.dtype, q_BNHD.shape[-1])
    elif not _fits(backend, q_BNHD.device, q_BNHD.dtype, q_BNHD.shape[-1]):
        raise InputError(
            "backend",
            backend,
            f"cannot run {q_BNHD.dtype} heads of {q_BNHD.shape[-1]} "
            f"on {q_BNHD.device}; here: {', '.join(available_backends(q_BNHD.device))}",
        )
    if backend in _PACKAGES:
        out = _flash_function(backend)(q_BNHD, k_BMHD, v_BMHD)
        # Some releases of FlashAttention-3 return (output, log-sum-exp).
        return out[0] if isinstance(out, tuple) else out
    q, k, v = (t.transpose(1, 2) for t in (q_BNHD, k_BMHD, v_BMHD))
    if backend == "cudnn":
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    with cpu_attention(q):
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def frame_attention(q_BNHD: Tensor, k_BFMHD: Tensor, v_BFMHD: Tensor, tokens: TokenSlice) -> Tensor:
    """Attention of every token to the keys of its own frame.

    Args:
        q_BNHD: [B, N, H, D] queries of a whole sequence, frame after frame.
        k_BFMHD, v_BFMHD: [B, F, M, H, D] keys and values of F frames.
        tokens: all N of them.

    Returns:
        [B, N, H, D].
    """
    frames = k_BFMHD.shape[1]
    q_FNHD = q_BNHD.unflatten(1, (frames, -1)).flatten(0, 1)
    out_FNHD = attention(q_FNHD, k_BFMHD.flatten(0, 1), v_BFMHD.flatten(0, 1))
    return torch.unflatten(out_FNHD, 0, (-1, frames)).flatten(1, 2)


def whole_attention(q_BNHD: Tensor, k_BNHD: Tensor, v_BNHD: Tensor, tokens: TokenSlice) -> Tensor:
    """``attention`` among all tokens of a sequence that one process holds."""
    return attention(q_BNHD, k_BNHD, v_BNHD)


def available_backends(device: torch.device | str) -> tuple[Backend, ...]:
    """Kernels that can run on ``device`` with half-precision heads of 128, fastest first."""
    where = torch.device(device)
    return tuple(b for b in BACKENDS if _fits(b, where, torch.bfloat16, 128))


def choose_backend(device: torch.device, dtype: torch.dtype, head_dim: int) -> Backend:
    """The fastest kernel for these tensors: FlashAttention-3, then 2, then cuDNN, then SDPA.

    cuDNN is taken on Hopper and newer only: before it, PyTorch's own flash kernel is as fast.
    """
    if device.type != "cuda" or dtype not in _HALF:
        return "sdpa"
    for backend in BACKENDS:
        if backend == "cudnn" and _capability(device.index) < _HOPPER:
            continue
        if _fits(backend, device, dtype, head_dim):
            return backend
    return "sdpa"


def _fits(backend: Backend, device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether ``backend`` exists here and takes heads of this dtype and width."""
    if backend == "sdpa":
        return True
    if device.type != "cuda" or dtype not in _HALF or head_dim % 8:
        return False
    capability = _capability(device.index)
    if backend == "cudnn":
        return capability >= _AMPERE and head_dim <= _CUDNN_MAX_HEAD_DIM and _cudnn_enabled()
    if head_dim > _FLASH_MAX_HEAD_DIM or not _installed(_PACKAGES[backend]):
        return False
    # FlashAttention-3 is written for Hopper's instructions and runs on nothing else.
    return capability[0] == _HOPPER[0] if backend == "flash3" else capability >= _AMPERE


def _constant(function: Function) -> Function:
    """``torch.compiler.assume_constant_result``, which imports the compiler: a second and more of
    every process, whether it compiles or not."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@_constant
def _installed(package: str) -> bool:
    return _find(package)


@_constant
def _capability(index: int | None) -> tuple[int, int]:
    return torch.cuda.get_device_capability(index)


@_constant
def _cudnn_enabled() -> bool:
    built: bool = torch.backends.cudnn.is_available()
    allowed: bool = torch.backends.cuda.cudnn_sdp_enabled()
    return built and allowed


@functools.cache
def _find(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@functools.cache
def _flash_function(backend: Backend) -> Callable[..., Any]:
    function: Callable[..., Any] = importlib.import_module(_PACKAGES[backend]).flash_attn_func
    return function
