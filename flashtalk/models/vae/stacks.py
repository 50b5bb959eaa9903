"""Encoder and decoder: the published stacks of layers, level by level.

Shape suffixes: B batch, C channels, T frames, H W pixels, F latent frames; h w latent size.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.history import History
from flashtalk.models.vae.layers import (
    AttentionBlock,
    CausalConv3d,
    ResidualBlock,
    RmsNorm,
    convolve_normed,
)
from flashtalk.models.vae.resample import Downsample, Upsample
from flashtalk.ops.video_convolution import as_frames, as_video

RGB = 3


class Encoder(nn.Module):
    """Pixels to the moments of the latents, before the last 1x1x1 convolution."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        dims = config.encoder_dims
        self.conv1 = CausalConv3d(RGB * config.patch_size**2, dims[0], (3, 3, 3))
        layers: list[nn.Module] = []
        width = dims[0]
        for level, dim in enumerate(dims):
            for _ in range(config.num_res_blocks):
                layers.append(ResidualBlock(width, dim))
                width = dim
            if level < len(dims) - 1:
                layers.append(
                    Downsample(
                        width,
                        spatial=config.spatial_down[level],
                        temporal=config.temporal_down[level],
                        shortcut=config.linear_shortcuts,
                    )
                )
        self.downsamples = nn.Sequential(*layers)
        self.middle = _middle(width, config.middle_attention)
        self.head = _head(width, 2 * config.z_channels)

    def forward(self, video_BCTHW: Tensor, history: History | None = None) -> Tensor:
        """[B, 3, T, H, W] -> [B, 2*z, F, h, w]."""
        x = video_BCTHW
        if self.patch_size > 1:
            x = as_video(F.pixel_unshuffle(as_frames(x), self.patch_size), x.shape[0])
        x = self.conv1(x, history)
        x = _run(self.downsamples, x, history)
        x = _run(self.middle, x, history)
        return _run_head(self.head, x, history)


class Decoder(nn.Module):
    """Un-normalised latents, after the first 1x1x1 convolution, to pixels."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        dims = config.decoder_dims
        self.conv1 = CausalConv3d(config.z_channels, dims[0], (3, 3, 3))
        self.middle = _middle(dims[0], config.middle_attention)
        layers: list[nn.Module] = []
        width = dims[0]
        for level, dim in enumerate(dims):
            for _ in range(config.decoder_blocks):
                layers.append(ResidualBlock(width, dim))
                width = dim
            if level < len(dims) - 1:
                up = Upsample(
                    width,
                    spatial=config.spatial_down[-1 - level],
                    temporal=config.temporal_down[-1 - level],
                    shortcut=config.linear_shortcuts,
                )
                layers.append(up)
                width = up.channels_out
        self.upsamples = nn.Sequential(*layers)
        self.head = _head(width, RGB * config.patch_size**2)

    def forward(self, z_BCFHW: Tensor, history: History | None = None) -> Tensor:
        """[B, z, F, h, w] -> [B, 3, T, H, W], not clamped."""
        x = self.conv1(z_BCFHW, history)
        x = _run(self.middle, x, history)
        x = _run(self.upsamples, x, history)
        x = _run_head(self.head, x, history)
        if self.patch_size > 1:
            x = as_video(F.pixel_shuffle(as_frames(x), self.patch_size), x.shape[0])
        return x


def _middle(dim: int, attention: bool) -> nn.Sequential:
    blocks: list[nn.Module] = [ResidualBlock(dim, dim), ResidualBlock(dim, dim)]
    if attention:
        blocks.insert(1, AttentionBlock(dim))
    return nn.Sequential(*blocks)


def _head(dim: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(RmsNorm(dim), nn.Identity(), CausalConv3d(dim, c_out, (3, 3, 3)))


def _run(layers: Iterable[nn.Module], x: Tensor, history: History | None) -> Tensor:
    for layer in layers:
        x = layer(x, history)
    return x


def _run_head(head: nn.Sequential, x: Tensor, history: History | None) -> Tensor:
    norm, _, conv = head
    return convolve_normed(norm, conv, x, history)
