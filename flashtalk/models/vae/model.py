"""The causal video VAE (Wan2.1 structure): pixels <-> latents, stride 4x8x8.

Frame 0 becomes latent 0; every 4 frames after it become one latent. All layers are causal, so the
latents of a prefix are a prefix of the latents, in both directions. A whole chunk passes through
every layer at once; a stream passes through the same layers step by step with a ``VAEState``.

Shape suffixes: B batch, C channels, T frames (1 + 4n), H W pixels, F latent frames (1 + n),
h w = H/8 W/8.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.vae.bypass import LinearDecoder, LinearEncoder
from flashtalk.models.vae.config import SPATIAL_STRIDE, TEMPORAL_STRIDE, VAEConfig
from flashtalk.models.vae.history import History, VAEState
from flashtalk.models.vae.layers import Pointwise
from flashtalk.models.vae.stacks import RGB, Decoder, Encoder
from flashtalk.models.vae.tubes import TubeDecoder, TubeEncoder
from flashtalk.ops.constants import constant


class Moments(NamedTuple):
    """Mean and log-variance of the latents, [B, z, F, h, w] each, in raw (unnormalised) units."""

    mu: Tensor
    logvar: Tensor


class WholePicture:
    """The ``PictureShare`` of a single process, which has the whole picture."""

    def mine(self, x: Tensor, cell_px: int) -> Tensor:
        """Returns ``x`` itself: this process computes the whole picture."""
        return x

    def join(self, x: Tensor, cells_hw: tuple[int, int], cell_px: int) -> Tensor:
        """Returns ``x`` itself: there are no other parts."""
        return x


class PictureShare(Protocol):
    """How pictures are distributed over processes, in whole latent cells.

    ``cell_px`` is the number of rows and columns of one latent cell: 1 in latents, 8 in pixels.
    ``cells_hw`` is the size of the whole picture in cells.
    """

    def mine(self, x: Tensor, cell_px: int) -> Tensor:
        """Returns the part of [..., H, W] that this process computes."""

    def join(self, x: Tensor, cells_hw: tuple[int, int], cell_px: int) -> Tensor:
        """Gathers the parts of all processes: [..., H, W] on each."""


class VideoVAE(nn.Module):
    """Encoder and decoder with the published parameter names.

    ``share`` is the seam for several processes, together with ``margins`` and ``whole_frame`` in
    the layers.

    Args:
        config: the architecture; ``VAEConfig.flashtalk_14b()`` is the published one.
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        z = config.z_channels
        in_tubes = config.patch_frames > 1
        self.encoder = TubeEncoder(config) if in_tubes else Encoder(config)
        self.conv1 = Pointwise(2 * z, 2 * z)
        self.conv2 = Pointwise(z, z)
        self.decoder = TubeDecoder(config) if in_tubes else Decoder(config)
        self.share: PictureShare = WholePicture()
        if config.linear_bypass:
            self.bypass_encoder = LinearEncoder(z)
            self.bypass_decoder = LinearDecoder(z)

    def encode(self, video_BCTHW: Tensor) -> Tensor:
        """Latents of a whole chunk.

        Args:
            video_BCTHW: [B, 3, 1 + 4n, H, W] in [-1, 1]; H and W multiples of 8.

        Returns:
            Normalised latents [B, z, 1 + n, H/8, W/8]: (mu - mean) / std.

        Raises:
            InputError: T is not 1 + 4n, or H or W is not a multiple of 8.
        """
        _check_video(video_BCTHW, first=True)
        return self._latents(video_BCTHW, None)

    def encode_moments(self, video_BCTHW: Tensor) -> Moments:
        """Mean and log-variance of the raw latents, for training. Errors as ``encode``."""
        _check_video(video_BCTHW, first=True)
        moments = self._moments(video_BCTHW, None)
        cells = _cells(video_BCTHW)
        return Moments(*(self.share.join(part, cells, 1) for part in moments))

    def decode(self, z_BCFHW: Tensor) -> Tensor:
        """Pixels of a whole chunk.

        Args:
            z_BCFHW: normalised latents [B, z, 1 + n, h, w].

        Returns:
            Video [B, 3, 1 + 4n, 8h, 8w], clamped to [-1, 1].

        Raises:
            InputError: not five axes, another number of channels, or an empty axis.
        """
        self._check_latents(z_BCFHW)
        return self._pixels(self.denormalise(z_BCFHW), None).clamp(-1, 1)

    def decode_raw(self, raw_BCFHW: Tensor) -> Tensor:
        """Pixels from raw latents (the units of ``encode_moments``), not clamped; for training."""
        self._check_latents(raw_BCFHW)
        return self._pixels(raw_BCFHW, None)

    def reconstruct(self, video_BCTHW: Tensor) -> Tensor:
        """decode(encode(video)); shapes and errors of both."""
        return self.decode(self.encode(video_BCTHW))

    def encode_step(self, video_BCTHW: Tensor, state: VAEState) -> tuple[Tensor, VAEState]:
        """The next frames of a stream.

        Args:
            video_BCTHW: the first step takes 1 + 4n frames, every later step 4n (n >= 1).
            state: ``VAEState()`` for a new stream, else the result of the previous step.

        Returns:
            Their normalised latents and the state for the next step. All steps together give
            the result of ``encode`` for the whole.

        Raises:
            InputError: as ``encode``, with this step's frame counts.
        """
        _check_video(video_BCTHW, first=not state.started)
        history = History(state)
        return self._latents(video_BCTHW, history), history.state()

    def decode_step(self, z_BCFHW: Tensor, state: VAEState) -> tuple[Tensor, VAEState]:
        """The next latents of a stream (one or more) -> their frames, and the next state.

        The first latent of a stream gives one frame, every other one four.
        """
        self._check_latents(z_BCFHW)
        history = History(state)
        video_BCTHW = self._pixels(self.denormalise(z_BCFHW), history).clamp(-1, 1)
        return video_BCTHW, history.state()

    def normalise(self, raw_BCFHW: Tensor) -> Tensor:
        """Raw latents -> unit variance per channel, by the configuration's constants."""
        mean, std = self._stats(raw_BCFHW)
        return (raw_BCFHW - mean) * (1.0 / std)

    def denormalise(self, z_BCFHW: Tensor) -> Tensor:
        """The inverse of ``normalise``."""
        mean, std = self._stats(z_BCFHW)
        return z_BCFHW * std + mean

    def set_latent_stats(self, mean: Tensor, std: Tensor) -> None:
        """Sets the latent statistics, [z] each; stored in ``config`` and saved with it."""
        self.config = self.config.with_latent_stats(mean.tolist(), std.tolist())

    def _stats(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = self.config.latent_mean, self.config.latent_std
        return (
            constant(mean, like).view(1, -1, 1, 1, 1),
            constant(std, like).view(1, -1, 1, 1, 1),
        )

    def _latents(self, video_BCTHW: Tensor, history: History | None) -> Tensor:
        """Returns normalised latents of the whole picture."""
        mu = self._moments(video_BCTHW, history).mu
        return self.normalise(self.share.join(mu, _cells(video_BCTHW), 1))

    def _moments(self, video_BCTHW: Tensor, history: History | None) -> Moments:
        """Returns the moments of this process's part of the picture."""
        video_BCTHW = self.share.mine(video_BCTHW, SPATIAL_STRIDE)
        video_BCTHW = video_BCTHW.contiguous(memory_format=torch.channels_last_3d)
        mu, logvar = self.conv1(self.encoder(video_BCTHW, history)).chunk(2, dim=1)
        if self.config.linear_bypass:
            first = history is None or not history.started
            mu = mu + self.bypass_encoder(video_BCTHW, first=first)
        return Moments(mu, logvar)

    def _pixels(self, raw_BCFHW: Tensor, history: History | None) -> Tensor:
        height, width = raw_BCFHW.shape[3:]
        raw_BCFHW = self.share.mine(raw_BCFHW, 1)
        raw_BCFHW = raw_BCFHW.contiguous(memory_format=torch.channels_last_3d)
        video_BCTHW: Tensor = self.decoder(self.conv2(raw_BCFHW), history)
        if self.config.linear_bypass:
            first = history is None or not history.started
            video_BCTHW = video_BCTHW + self.bypass_decoder(raw_BCFHW, first=first)
        return self.share.join(video_BCTHW, (height, width), SPATIAL_STRIDE)

    def _check_latents(self, z_BCFHW: Tensor) -> None:
        if z_BCFHW.ndim != 5 or z_BCFHW.shape[1] != self.config.z_channels or 0 in z_BCFHW.shape:
            limit = f"[B, {self.config.z_channels}, F, h, w]"
            raise InputError("latents", tuple(z_BCFHW.shape), limit)


def _cells(video_BCTHW: Tensor) -> tuple[int, int]:
    height, width = video_BCTHW.shape[3:]
    return height // SPATIAL_STRIDE, width // SPATIAL_STRIDE


def _check_video(video_BCTHW: Tensor, *, first: bool) -> None:
    shape = tuple(video_BCTHW.shape)
    if len(shape) != 5 or shape[1] != RGB or 0 in shape:
        raise InputError("video", shape, "[B, 3, T, H, W]")
    if shape[2] % TEMPORAL_STRIDE != int(first):
        limit = "1 + 4n frames" if first else "4n frames after the first step"
        raise InputError("video frames", shape[2], limit)
    if shape[3] % SPATIAL_STRIDE or shape[4] % SPATIAL_STRIDE:
        raise InputError("video size", shape[3:], f"multiples of {SPATIAL_STRIDE}")
