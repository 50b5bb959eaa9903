"""The linear bypass: one affine map from pixel tubes to latents and one back.

Latent 0 is A0 @ (8x8 patch of frame 0), and every later latent is A1 @ (8x8 tube of its 4 frames).
The decoder's B0 and B1 are the maps back. The network's output is added. So with its last
convolutions at zero the VAE is exactly the closed-form principal-component code of the data, and
training starts from there. A tube contains only the frames of its own latent: the path is causal.

Shape suffixes: B batch, C channels, T frames, H W pixels, F latent frames, h w = H/8 W/8,
P patch values (3*8*8 = 192), Q tube values (4*192 = 768).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flashtalk.models.vae.config import SPATIAL_STRIDE, TEMPORAL_STRIDE
from flashtalk.ops.linear import Linear

PATCH_VALUES = 3 * SPATIAL_STRIDE**2
TUBE_VALUES = TEMPORAL_STRIDE * PATCH_VALUES


def tubes(video_BCTHW: Tensor, frames: int) -> Tensor:
    """[B, 3, frames*n, H, W] -> [B, n, h, w, frames*8*8*3]."""
    b, c, t, h, w = video_BCTHW.shape
    s = SPATIAL_STRIDE
    x = video_BCTHW.reshape(b, c, t // frames, frames, h // s, s, w // s, s)
    return x.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4)


def untubes(x_BFhwQ: Tensor, frames: int) -> Tensor:
    """The inverse of ``tubes``."""
    s = SPATIAL_STRIDE
    x = torch.unflatten(x_BFhwQ, 4, (frames, s, s, 3)).permute(0, 7, 1, 4, 2, 5, 3, 6)
    return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)


class LinearEncoder(nn.Module):
    """The encoder's maps A0 and A1."""

    def __init__(self, z_channels: int) -> None:
        super().__init__()
        self.first = Linear(PATCH_VALUES, z_channels)
        self.later = Linear(TUBE_VALUES, z_channels)

    def forward(self, video_BCTHW: Tensor, *, first: bool) -> Tensor:
        """[B, 3, T, H, W] -> [B, z, F, h, w]; ``first``: the video begins with frame 0."""
        skip = int(first)
        parts = []
        if first:
            parts.append(self.first(tubes(video_BCTHW[:, :, :1], 1)))
        if video_BCTHW.shape[2] > skip:
            parts.append(self.later(tubes(video_BCTHW[:, :, skip:], TEMPORAL_STRIDE)))
        return torch.cat(parts, dim=1).permute(0, 4, 1, 2, 3)


class LinearDecoder(nn.Module):
    """The decoder's maps B0 and B1."""

    def __init__(self, z_channels: int) -> None:
        super().__init__()
        self.first = Linear(z_channels, PATCH_VALUES)
        self.later = Linear(z_channels, TUBE_VALUES)

    def forward(self, raw_BCFHW: Tensor, *, first: bool) -> Tensor:
        """[B, z, F, h, w] -> [B, 3, T, H, W]; ``first``: the latents begin with latent 0."""
        skip = int(first)
        x_BFhwC = raw_BCFHW.permute(0, 2, 3, 4, 1)
        parts = []
        if first:
            parts.append(untubes(self.first(x_BFhwC[:, :1]), 1))
        if x_BFhwC.shape[1] > skip:
            parts.append(untubes(self.later(x_BFhwC[:, skip:]), TEMPORAL_STRIDE))
        return torch.cat(parts, dim=2)
