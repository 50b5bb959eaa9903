"""Latents to tokens and back.

Legend: B batch, C latent channels, F latent frames, H W latent height and width, P side of a patch,
R = H / P and Q = W / P token rows and columns, N = F * R * Q tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.ops.linear import Linear, linear
from flashtalk.ops.norms import modulated_norm

Grid = tuple[int, int, int]
"""Tokens along time, height and width."""


def token_grid(x_BCFHW: Tensor, patch_hw: int) -> Grid:
    """Returns the tokens of latents. Raises InputError for a size that patches do not divide."""
    frames, *size = x_BCFHW.shape[2:]
    if any(side % patch_hw for side in size):
        raise InputError("latent size", tuple(size), f"multiples of {patch_hw}")
    return frames, size[0] // patch_hw, size[1] // patch_hw


class PatchEmbedding(nn.Conv3d):
    """Latents to tokens: a convolution whose stride is its kernel, run as one matrix product.

    As a 3D convolution it took an eighth of the tiny preset's whole step on a CPU.
    """

    def __init__(self, in_dim: int, dim: int, patch_hw: int) -> None:
        patch = (1, patch_hw, patch_hw)
        super().__init__(in_dim, dim, kernel_size=patch, stride=patch)
        self.patch_hw = patch_hw

    def forward(self, input: Tensor) -> Tensor:
        """[B, in_dim, F, H, W] to [B, N, D], tokens in frame-major order."""
        side = (-1, self.patch_hw)
        tiled = torch.unflatten(torch.unflatten(input, 4, side), 3, side)
        patches = tiled.permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(1, 3)
        return linear(patches, self.weight.flatten(1), self.bias)


class Head(nn.Module):
    """Tokens to latent patches, modulated by the time embedding itself."""

    def __init__(self, dim: int, out_dim: int, patch_hw: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.head = Linear(dim, patch_hw * patch_hw * out_dim)
        self.modulation = nn.Parameter(torch.empty(1, 2, dim))
        nn.init.normal_(self.modulation, std=dim**-0.5)

    def forward(self, x_BND: Tensor, time_BD: Tensor) -> Tensor:
        """[B, N, D] and the float32 [B, D] time embedding to [B, N, P * P * C]."""
        shift, scale = (self.modulation.float() + time_BD.unsqueeze(1)).chunk(2, dim=1)
        return self.head(modulated_norm(x_BND, shift, scale, self.eps))


def unpatchify(patches_BNP: Tensor, grid: Grid, patch_hw: int) -> Tensor:
    """[B, N, P * P * C] patches, channel last, to [B, C, F, H, W]."""
    channels = patches_BNP.shape[-1] // (patch_hw * patch_hw)
    shape = (-1, *grid, patch_hw, patch_hw, channels)
    image = patches_BNP.reshape(shape).permute(0, 6, 1, 2, 4, 3, 5)
    return image.flatten(5, 6).flatten(3, 4)
