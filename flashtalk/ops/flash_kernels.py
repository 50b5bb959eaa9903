"""FlashAttention 2, 3 and 4 if they are installed: a table that is filled at import.

Tracing for compilation sees a single operator without a lookup. A kernel that fails (a head width,
a missing compiler, an incompatible release) is not used again.

Legend: B batch, N query tokens, M key tokens, H heads, D head width.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_LOG = logging.getLogger(__name__)

PACKAGES = {"flash3": "flash_attn_interface", "flash4": "flash_attn.cute", "flash2": "flash_attn"}
"""Names of the kernels, and the packages that have them: (q, k, v) in ``flash_attn_func``."""

Kernel = Callable[[Tensor, Tensor, Tensor], Any]


def find_kernels(packages: Mapping[str, str]) -> dict[str, Kernel]:
    """Returns the installed kernels that can be imported; logs those that cannot."""
    found: dict[str, Kernel] = {}
    for name, package in packages.items():
        try:
            if importlib.util.find_spec(package) is not None:
                found[name] = importlib.import_module(package).flash_attn_func
        except Exception as error:  # built for another torch or CUDA: may raise any exception
            if not _is_absent(error, package):
                _LOG.warning("%s is installed but cannot be used: %s", package, error)
    return found


def _is_absent(error: Exception, package: str) -> bool:
    """Whether the package, or its parent package, is not installed."""
    return isinstance(error, ModuleNotFoundError) and error.name in (
        package,
        package.partition(".")[0],
    )


KERNELS: dict[str, Kernel] = find_kernels(PACKAGES) if torch.version.cuda else {}
REFUSED: set[str] = set()


def run_kernel(name: str, q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor) -> Tensor:
    """Computes attention with a kernel of the table; if it fails, with the next remaining one.

    Args:
        name: name of the first kernel to try.
        q_BNHD: [B, N, H, D] half precision; k_BMHD, v_BMHD: [B, M, H, D].

    Returns:
        [B, N, H, D].
    """
    names = list(KERNELS)
    for candidate in names[names.index(name) :]:
        if candidate in REFUSED:
            continue
        try:
            out = KERNELS[candidate](q_BNHD, k_BMHD, v_BMHD)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            REFUSED.add(candidate)
            _LOG.warning("attention backend %s failed; using the next one: %s", candidate, error)
            continue
        # Some releases return (output, log-sum-exp).
        result: Tensor = out[0] if isinstance(out, tuple) else out
        return result
    q, k, v = (t.transpose(1, 2) for t in (q_BNHD, k_BMHD, v_BMHD))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


@torch.library.custom_op("flashtalk::flash_attention", mutates_args=())
def _operator(name: str, q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor) -> Tensor:
    return run_kernel(name, q_BNHD, k_BMHD, v_BMHD).contiguous()


@_operator.register_fake
def _(name: str, q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor) -> Tensor:
    return torch.empty_like(q_BNHD, memory_format=torch.contiguous_format)


def flash_attention(name: str, q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor) -> Tensor:
    """``run_kernel``, as a single operator when traced; same arguments and result."""
    if torch.compiler.is_compiling():
        out: Tensor = _operator(name, q_BNHD, k_BMHD, v_BMHD)
        return out
    return run_kernel(name, q_BNHD, k_BMHD, v_BMHD)
