"""Whether bfloat16 saves time on this device."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import torch

ConfigT = TypeVar("ConfigT")


def has_native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; other CPUs are many times slower with it.

    Without kernels for the VAE's convolutions, encoding one clip took 16 s instead of 1 s.
    """
    return device.type != "cpu" or torch.cpu._is_avx512_bf16_supported()


def without_slow_bf16(config: ConfigT, device: torch.device) -> ConfigT:
    """Returns the recipe, with float32 where ``bf16`` would be slower."""
    if getattr(config, "bf16", False) and not has_native_bf16(device):
        return dataclasses.replace(config, bf16=False)  # type: ignore[type-var]
    return config
