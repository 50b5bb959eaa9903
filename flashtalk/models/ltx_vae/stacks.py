"""Encoder and decoder of the LTX video VAE: levels of residual blocks under the published names.

Shape suffixes: B batch, C channels, T frames, H W pixels of the running resolution, F latent
frames; h w latent size.
"""

from __future__ import annotations

from torch import Tensor, nn

from flashtalk.models.ltx_vae.config import PATCH_PX, LtxVaeConfig
from flashtalk.models.ltx_vae.layers import (
    RGB,
    ResidualBlock,
    Upsample,
    VideoConv,
    from_patches,
    to_patches,
)

PATCH_CHANNELS = RGB * PATCH_PX**2
CAUSAL_ENCODER, CAUSAL_DECODER = True, False


class Encoder(nn.Module):
    """Pixels to the moments of the latents, causal in time."""

    def __init__(self, config: LtxVaeConfig) -> None:
        super().__init__()
        widths, eps = config.block_out_channels, config.resnet_norm_eps
        *blocks, middle = config.layers_per_block
        self.conv_in = VideoConv(PATCH_CHANNELS, widths[0], causal=CAUSAL_ENCODER)
        self.down_blocks = nn.Sequential(
            *(
                DownBlock(width, out, count, halves=halves, eps=eps)
                for width, out, count, halves in zip(
                    widths,
                    (*widths[1:], widths[-1]),
                    blocks,
                    config.spatio_temporal_scaling,
                    strict=True,
                )
            )
        )
        self.mid_block = MiddleBlock(widths[-1], middle, causal=CAUSAL_ENCODER, eps=eps)
        # One log-variance for all channels of a latent.
        self.conv_out = VideoConv(widths[-1], config.latent_channels + 1, causal=CAUSAL_ENCODER)

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        """[B, 3, 1 + 8n, H, W] -> [B, C + 1, 1 + n, H/32, W/32]: means and a log-variance."""
        x = self.conv_in(to_patches(video_BCTHW))
        x = self.mid_block(self.down_blocks(x))
        return self.conv_out.of_normed(x)


class Decoder(nn.Module):
    """Un-normalised latents to pixels; every frame depends on all latents."""

    def __init__(self, config: LtxVaeConfig) -> None:
        super().__init__()
        widths, eps = config.block_out_channels[::-1], config.resnet_norm_eps
        middle, *blocks = config.layers_per_block[::-1]
        self.conv_in = VideoConv(config.latent_channels, widths[0], causal=CAUSAL_DECODER)
        self.mid_block = MiddleBlock(widths[0], middle, causal=CAUSAL_DECODER, eps=eps)
        self.up_blocks = nn.Sequential(
            *(
                UpBlock(width, out, count, doubles=doubles, eps=eps)
                for width, out, count, doubles in zip(
                    (widths[0], *widths[:-1]),
                    widths,
                    blocks,
                    config.spatio_temporal_scaling[::-1],
                    strict=True,
                )
            )
        )
        self.conv_out = VideoConv(widths[-1], PATCH_CHANNELS, causal=CAUSAL_DECODER)

    def forward(self, raw_BCFHW: Tensor) -> Tensor:
        """[B, C, 1 + n, h, w] -> [B, 3, 1 + 8n, 32 h, 32 w], not clamped."""
        x = self.mid_block(self.conv_in(raw_BCFHW))
        x = self.conv_out.of_normed(self.up_blocks(x))
        return from_patches(x)


class DownBlock(nn.Module):
    """A level of the encoder: blocks, then half the resolution, then the width of the next."""

    def __init__(self, width: int, out: int, count: int, *, halves: bool, eps: float) -> None:
        super().__init__()
        self.resnets = _blocks(width, count, causal=CAUSAL_ENCODER, eps=eps)
        strided = [VideoConv(width, width, causal=CAUSAL_ENCODER, stride=2)] if halves else []
        self.downsamplers = nn.Sequential(*strided)
        self.conv_out = _widened(width, out, causal=CAUSAL_ENCODER, eps=eps)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] -> the same, or [B, C', (T + 1)/2, H/2, W/2]."""
        return self.conv_out(self.downsamplers(self.resnets(x_BCTHW)))


class UpBlock(nn.Module):
    """A level of the decoder: its width, then twice the resolution, then blocks."""

    def __init__(self, width: int, out: int, count: int, *, doubles: bool, eps: float) -> None:
        super().__init__()
        self.conv_in = _widened(width, out, causal=CAUSAL_DECODER, eps=eps)
        doubling = [Upsample(out, causal=CAUSAL_DECODER)] if doubles else []
        self.upsamplers = nn.Sequential(*doubling)
        self.resnets = _blocks(out, count, causal=CAUSAL_DECODER, eps=eps)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] -> the same, or [B, C', 2 T - 1, 2 H, 2 W]."""
        return self.resnets(self.upsamplers(self.conv_in(x_BCTHW)))


class MiddleBlock(nn.Module):
    """Residual blocks at the lowest resolution."""

    def __init__(self, width: int, count: int, *, causal: bool, eps: float) -> None:
        super().__init__()
        self.resnets = _blocks(width, count, causal=causal, eps=eps)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] -> the same shape."""
        return self.resnets(x_BCTHW)


def _blocks(width: int, count: int, *, causal: bool, eps: float) -> nn.Sequential:
    return nn.Sequential(
        *(ResidualBlock(width, width, causal=causal, eps=eps) for _ in range(count))
    )


def _widened(width: int, out: int, *, causal: bool, eps: float) -> nn.Module:
    if width == out:
        return nn.Identity()
    return ResidualBlock(width, out, causal=causal, eps=eps)
