"""Self-attention with xDiT's kernels (``xfuser``), which the report used; CUDA only.

The packages are imported on first use: releases of xfuser and of its dependency ``yunchang`` are
not always compatible (0.7.0 with 0.6.4 fails to import), and torch collectives need neither.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.ops.attention import SharedAttentionCore
from flashtalk.ops.token_slice import TokenSlice
from flashtalk.parallel.mesh import Mesh

_INSTEAD = "backend torch has no such requirement"


def xdit_attention(mesh: Mesh) -> SharedAttentionCore:
    """Returns the core of all self-attentions of a mesh; creates xDiT's groups of the same ranks.

    Raises:
        InputError: no CUDA device, or missing or incompatible packages.
    """
    if not torch.cuda.is_available():
        raise InputError("backend", "xfuser", f"requires a CUDA device; {_INSTEAD}")
    attention, distributed = _load()
    layout = mesh.layout
    distributed.init_distributed_environment(rank=mesh.rank, world_size=layout.ranks)
    distributed.initialize_model_parallel(
        sequence_parallel_degree=layout.ranks,
        ring_degree=layout.ring,
        ulysses_degree=layout.ulysses,
    )
    kernel = attention.xFuserLongContextAttention()

    def core(q_BnHK: Tensor, k_BnHK: Tensor, v_BnHK: Tensor, tokens: TokenSlice) -> Tensor:
        if tokens.total % layout.ranks:
            limit = f"must be a multiple of the {layout.ranks} ranks: xfuser cannot mask padding"
            raise InputError("tokens", tokens.total, f"{limit}; backend torch accepts any number")
        out: Tensor = kernel(None, query=q_BnHK, key=k_BnHK, value=v_BnHK)
        return out

    return core


def _load() -> tuple[Any, Any]:
    try:
        return (
            importlib.import_module("xfuser.core.long_ctx_attention"),
            importlib.import_module("xfuser.core.distributed"),
        )
    except Exception as error:
        # Any exception: many failed imports there do not raise ImportError.
        packages = " and ".join(f"{name} {_version(name)}" for name in ("xfuser", "yunchang"))
        reason = f"{type(error).__name__}: {error}"
        limit = f"cannot be imported: {packages} ({reason}); {_INSTEAD}"
        raise InputError("backend", "xfuser", limit) from error


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
