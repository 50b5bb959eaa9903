"""Where and how the models of a pipeline compute: device, dtype, kernels."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from flashtalk.engine.compiled import check_compiler, compile_transformer
from flashtalk.engine.inference_form import (
    Transformer,
    fix_attention,
    join_projections,
    to_float8,
)
from flashtalk.errors import InputError
from flashtalk.ops.attention import Backend, read_backend
from flashtalk.ops.float8 import has_float8
from flashtalk.presets import FLASHHEAD, FLASHHEAD_LITE, PUBLISHED

FLOAT8_DTYPE = "float8"
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    FLOAT8_DTYPE: torch.bfloat16,
}
_HALF = frozenset({PUBLISHED, FLASHHEAD, FLASHHEAD_LITE})
"""Presets whose weights are bfloat16 on a CPU too, unless float32 is requested."""


@dataclass(frozen=True)
class Placement:
    """Device, dtype and kernels of a pipeline.

    Args:
        device: of all models.
        dtype: of their weights.
        float8: linear layers of the transformer's blocks are float8 (``ops.float8``).
        compiled: speech encoder, transformer and VAE use torch.compile (``engine.compiled``).
        attention: kernel of the transformer's attention; ``None``: the fastest for each.
    """

    device: torch.device
    dtype: torch.dtype
    float8: bool = False
    compiled: bool = False
    attention: Backend | None = None

    @classmethod
    def choose(
        cls,
        preset: str,
        device: str = "auto",
        dtype: str = "auto",
        *,
        compiled: bool = False,
        attention: str = "auto",
    ) -> Placement:
        """Parses the names of a device and a dtype.

        Args:
            preset: the large ones are float32 only on explicit request.
            device: ``auto`` (a GPU if available), or a device name of torch.
            dtype: ``auto`` (bfloat16 on a GPU and for the large presets), float32, bfloat16 or
                float8: bfloat16 with a transformer in float8.
            compiled: whether models use torch.compile.
            attention: ``auto``, or an available kernel (``ops.attention``).

        Raises:
            InputError: an unknown name, a missing device, no compiler, or a GPU that does not
                support float8 or the kernel.
        """
        if compiled:
            check_compiler()
        name = device
        if device == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            place = torch.device(name)
            torch.empty(1, device=place)
        except (RuntimeError, AssertionError, ImportError) as error:
            raise InputError("device", device, "auto, cpu, or a device that is there") from error
        if place.type == "meta":
            raise InputError("device", device, "auto, cpu, or a device that computes")
        kernel = read_backend(attention, place)
        if dtype == "auto":
            half = place.type == "cuda" or preset in _HALF
            chosen = torch.bfloat16 if half else torch.float32
            return cls(place, chosen, compiled=compiled, attention=kernel)
        if dtype not in DTYPES:
            raise InputError("dtype", dtype, f"auto, {', '.join(DTYPES)}")
        float8 = dtype == FLOAT8_DTYPE
        if float8 and place.type != "cpu" and not has_float8(place):
            raise InputError("dtype", dtype, f"a GPU of compute capability 8.9, not {place}")
        return cls(place, DTYPES[dtype], float8, compiled, kernel)


def to_inference_form(network: Transformer, placement: Placement) -> None:
    """Joins, quantizes and compiles as its placement requires, in place."""
    if placement.attention is not None:
        fix_attention(network, placement.attention)
    if placement.device.type != "cpu" or placement.float8:
        join_projections(network)
    if placement.float8:
        to_float8(network)
    if placement.compiled:
        compile_transformer(network)
