"""Whether bfloat16 saves time on the device at hand."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import torch

ConfigT = TypeVar("ConfigT")


def has_native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; without it a CPU takes many times longer.

    Where the VAE's convolutions have no kernel, encoding one clip took 16 s instead of 1 s.
    """
    return device.type != "cpu" or torch.cpu._is_avx512_bf16_supported()


def without_slow_bf16(config: ConfigT, device: torch.device) -> ConfigT:
    """The recipe, in float32 where ``bf16`` would only cost time; others as they are."""
    if getattr(config, "bf16", False) and not has_native_bf16(device):
        return dataclasses.replace(config, bf16=False)  # type: ignore[type-var]
    return config
