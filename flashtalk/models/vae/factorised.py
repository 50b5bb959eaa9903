"""A cheaper residual block: 3x3 in space, 3 taps in time, then a pointwise feed-forward.

It has 16 C^2 weights instead of the published block's 54 C^2, most of them in matrix products. Its
last layers start at zero, so that a new block is the identity. Used if ``VAEConfig.patch_frames``
is above 1, never in the published preset.

Shape suffixes: B batch, C channels, T frames, H W pixels of the running resolution.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.models.vae.history import History
from flashtalk.models.vae.layers import CausalConv3d, Pointwise, RmsNorm

EXPANSION = 2


class FactorisedBlock(nn.Module):
    """Causal residual block of ``channels``; the same width in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = RmsNorm(channels)
        self.space = CausalConv3d(channels, channels, (1, 3, 3))
        self.time = CausalConv3d(channels, channels, (3, 1, 1))
        self.norm2 = RmsNorm(channels)
        self.expand = Pointwise(channels, EXPANSION * channels)
        self.contract = Pointwise(EXPANSION * channels, channels)
        for layer in (self.time, self.contract):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x_BCTHW: Tensor, history: History | None = None) -> Tensor:
        """[B, C, T, H, W] -> the same shape."""
        y = F.silu(self.space(self.norm1(x_BCTHW), history))
        x_BCTHW = x_BCTHW + self.time(y, history)
        y = F.silu(self.expand(self.norm2(x_BCTHW)))
        out: Tensor = x_BCTHW + self.contract(y)
        return out
