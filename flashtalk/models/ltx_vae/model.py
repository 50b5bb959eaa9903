"""The LTX video VAE of FlashHead Lite: stride 8x32x32, ``LtxVaeConfig`` (LTX-Video, first release).

The encoder is causal, the decoder is not: each frame depends on all latents of the chunk, so a
chunk cannot be decoded in parts, and a part of its latents gives other frames.

Shape suffixes: B batch, C channels, T frames (1 + 8n), H W pixels, F latent frames (1 + n),
h w = H/32 W/32.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.ltx_vae.config import SPATIAL_STRIDE, TEMPORAL_STRIDE, LtxVaeConfig
from flashtalk.models.ltx_vae.layers import RGB
from flashtalk.models.ltx_vae.stacks import Decoder, Encoder


class Moments(NamedTuple):
    """Mean [B, C, F, h, w] and log-variance [B, 1, F, h, w] of the latents in raw units.

    All channels of a latent have the same variance.
    """

    mu: Tensor
    logvar: Tensor


class LtxVae(nn.Module):
    """Encoder and decoder with the published parameter names.

    The weight file contains the statistics of the latents: ``latents_mean`` and ``latents_std``,
    [C] each.

    Args:
        config: the architecture; ``LtxVaeConfig.flashhead_lite()`` is the published one.
    """

    latents_mean: Tensor
    latents_std: Tensor

    def __init__(self, config: LtxVaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.register_buffer("latents_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latents_std", torch.ones(config.latent_channels))

    def encode(self, video_BCTHW: Tensor) -> Tensor:
        """Latents of a whole clip: the mean of the posterior.

        The published pipeline draws from the posterior with an unseeded generator; the mean makes
        a stream reproducible.

        Args:
            video_BCTHW: [B, 3, 1 + 8n, H, W]; H and W multiples of 32. Values beyond [-1, 1] are
                not clamped.

        Returns:
            Normalised latents [B, C, 1 + n, H/32, W/32]: (mu - mean) / std.

        Raises:
            InputError: T is not 1 + 8n, or H or W is not a multiple of 32.
        """
        return self.normalise(self.encode_moments(video_BCTHW).mu)

    def encode_moments(self, video_BCTHW: Tensor) -> Moments:
        """Mean and log-variance of the raw latents. Arguments and errors as ``encode``."""
        _check_video(video_BCTHW)
        moments_BCFHW = self.encoder(video_BCTHW)
        return Moments(*moments_BCFHW.split((self.config.latent_channels, 1), dim=1))

    def decode(self, z_BCFHW: Tensor) -> Tensor:
        """Pixels of a whole chunk.

        Args:
            z_BCFHW: normalised latents [B, C, 1 + n, h, w].

        Returns:
            Video [B, 3, 1 + 8n, 32 h, 32 w], not clamped: values can lie beyond [-1, 1].

        Raises:
            InputError: not five axes, another number of channels, or an empty axis.
        """
        self._check_latents(z_BCFHW)
        return self.decoder(self.denormalise(z_BCFHW))

    def normalise(self, raw_BCFHW: Tensor) -> Tensor:
        """Raw latents -> normalised ones, by the statistics of the weight file."""
        mean, std = self._stats()
        return ((raw_BCFHW.float() - mean) / std).to(raw_BCFHW.dtype)

    def denormalise(self, z_BCFHW: Tensor) -> Tensor:
        """The inverse of ``normalise``."""
        mean, std = self._stats()
        return torch.addcmul(mean, z_BCFHW.float(), std).to(z_BCFHW.dtype)

    def _stats(self) -> tuple[Tensor, Tensor]:
        shape = (1, -1, 1, 1, 1)
        return self.latents_mean.float().view(shape), self.latents_std.float().view(shape)

    def _check_latents(self, z_BCFHW: Tensor) -> None:
        channels = self.config.latent_channels
        if z_BCFHW.ndim != 5 or z_BCFHW.shape[1] != channels or 0 in z_BCFHW.shape:
            raise InputError("latents", tuple(z_BCFHW.shape), f"[B, {channels}, F, h, w]")


def _check_video(video_BCTHW: Tensor) -> None:
    shape = tuple(video_BCTHW.shape)
    if len(shape) != 5 or shape[1] != RGB or 0 in shape:
        raise InputError("video", shape, "[B, 3, T, H, W]")
    if shape[2] % TEMPORAL_STRIDE != 1:
        raise InputError("video frames", shape[2], f"1 + {TEMPORAL_STRIDE}n frames")
    if shape[3] % SPATIAL_STRIDE or shape[4] % SPATIAL_STRIDE:
        raise InputError("video size", shape[3:], f"multiples of {SPATIAL_STRIDE}")
