"""Encoder and decoder at the latent rate: linear tubes in and out, factorised blocks between.

At 44-fold compression a small network is most efficient if a position represents a whole 8x8x4
tube: few positions, wide matrix products. It decodes three times as fast as a pyramid of 3x3x3
convolutions and learns faster per second (docs/vae.md has both tables).

Shape suffixes: B batch, C channels, T frames, H W pixels, F latent frames, h w = H/8 W/8.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flashtalk.models.vae.bypass import LinearDecoder, LinearEncoder
from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.factorised import FactorisedBlock
from flashtalk.models.vae.history import History
from flashtalk.models.vae.layers import Pointwise, RmsNorm


def _first(history: History | None) -> bool:
    return history is None or not history.started


class TubeEncoder(nn.Module):
    """Pixels to the moments of the latents; the counterpart of ``stacks.Encoder``."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        dim = config.encoder_dims[0]
        self.stem = LinearEncoder(dim)
        self.blocks = nn.ModuleList(FactorisedBlock(dim) for _ in range(config.num_res_blocks))
        self.norm = RmsNorm(dim)
        self.head = Pointwise(dim, 2 * config.z_channels)

    def forward(self, video_BCTHW: Tensor, history: History | None = None) -> Tensor:
        """[B, 3, T, H, W] -> [B, 2*z, F, h, w]."""
        x = self.stem(video_BCTHW, first=_first(history))
        for block in self.blocks:
            x = block(x, history)
        out: Tensor = self.head(self.norm(x))
        return out


class LatentStem(nn.Module):
    """Latents to network width; latent 0 is one frame, not four, and has its own map."""

    def __init__(self, z_channels: int, dim: int) -> None:
        super().__init__()
        self.first = Pointwise(z_channels, dim)
        self.later = Pointwise(z_channels, dim)

    def forward(self, z_BCFHW: Tensor, *, first: bool) -> Tensor:
        """[B, z, F, h, w] -> [B, C, F, h, w]."""
        if not first:
            out: Tensor = self.later(z_BCFHW)
            return out
        parts = [self.first(z_BCFHW[:, :, :1])]
        if z_BCFHW.shape[2] > 1:
            parts.append(self.later(z_BCFHW[:, :, 1:]))
        return torch.cat(parts, dim=2)


class TubeDecoder(nn.Module):
    """Latents to pixels; the counterpart of ``stacks.Decoder``."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        dim = config.decoder_dims[0]
        self.stem = LatentStem(config.z_channels, dim)
        self.blocks = nn.ModuleList(FactorisedBlock(dim) for _ in range(config.decoder_blocks))
        self.norm = RmsNorm(dim)
        self.head = LinearDecoder(dim)

    def forward(self, z_BCFHW: Tensor, history: History | None = None) -> Tensor:
        """[B, z, F, h, w] -> [B, 3, T, H, W], not clamped."""
        first = _first(history)
        x = self.stem(z_BCFHW, first=first)
        for block in self.blocks:
            x = block(x, history)
        out: Tensor = self.head(self.norm(x), first=first)
        return out
