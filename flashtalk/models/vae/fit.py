"""Closed-form initialisation of a VAE with a linear bypass: principal components of the data.

The bypass becomes the least-squares optimal linear code of 8x8 patches (frame 0) and 8x8x4 tubes
(later frames). The network's last convolutions become zero, so that the whole VAE is that linear
code and training improves on it.

Shape suffixes: N samples, Q values of a patch (192) or tube (768), Z latent channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.vae.bypass import tubes
from flashtalk.models.vae.config import TEMPORAL_STRIDE
from flashtalk.models.vae.model import VideoVAE

START_LOGVAR = math.log(1e-4)
"""Log-variance of the latents at the start: little noise beside their unit variance."""

FLOOR = 1e-6
"""Smallest component variance kept, relative to the largest; avoids dividing by zero."""


@dataclass(frozen=True)
class _Code:
    """A whitened linear code: latents = (x - mean) @ encode, x = latents @ decode + mean."""

    mean_Q: Tensor
    encode_QZ: Tensor
    decode_ZQ: Tensor

    def rotated(self, rotation_ZZ: Tensor) -> _Code:
        return _Code(self.mean_Q, self.encode_QZ @ rotation_ZZ, rotation_ZZ.T @ self.decode_ZQ)


class _Covariance:
    """Running mean and covariance in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Tensor | float = 0.0
        self.product: Tensor | float = 0.0

    def add(self, x_NQ: Tensor) -> None:
        x_NQ = x_NQ.double()
        self.count += x_NQ.shape[0]
        self.total = self.total + x_NQ.sum(dim=0)
        self.product = self.product + x_NQ.T @ x_NQ

    def moments(self) -> tuple[Tensor, Tensor]:
        """mean [Q] and covariance [Q, Q]."""
        if self.count == 0:
            raise InputError("clips", "none", "at least one clip of 5 or more frames")
        mean_Q = torch.as_tensor(self.total) / self.count
        return mean_Q, torch.as_tensor(self.product) / self.count - mean_Q.outer(mean_Q)


@torch.no_grad()
def fit_linear_bypass(vae: VideoVAE, clips: Iterable[Tensor]) -> None:
    """Sets the bypass to the principal components of ``clips`` and the network's output to zero.

    Raw latents then have about unit variance per channel. The basis of latent 0 is rotated so that
    a still picture has nearly the same latent in frame 0 as later, because both share the
    network's weights and the latent statistics.

    Args:
        vae: built with ``linear_bypass=True``; changed in place.
        clips: videos [B, 3, 1 + 4n, H, W] in [-1, 1]; every frame also serves as a frame 0.

    Raises:
        InputError: the VAE has no bypass, or the clips contain no data.
    """
    if not vae.config.linear_bypass:
        raise InputError("vae", "no linear bypass", "a configuration with linear_bypass")
    patches, later = _Covariance(), _Covariance()
    for clip_BCTHW in clips:
        patches.add(tubes(clip_BCTHW, 1).flatten(0, 3))
        later.add(tubes(clip_BCTHW[:, :, 1:], TEMPORAL_STRIDE).flatten(0, 3))
    z = vae.config.z_channels
    mean_P, cov_PP = patches.moments()
    tube_code = _principal(*later.moments(), z)
    patch_code = _principal(mean_P, cov_PP, z)
    still_PZ = torch.unflatten(tube_code.encode_QZ, 0, (TEMPORAL_STRIDE, -1)).sum(dim=0)
    patch_code = patch_code.rotated(_procrustes(patch_code.encode_QZ.T @ cov_PP @ still_PZ))

    _write(vae.bypass_encoder.first, vae.bypass_decoder.first, patch_code)
    _write(vae.bypass_encoder.later, vae.bypass_decoder.later, tube_code)
    _silence(vae)


def _principal(mean_Q: Tensor, cov_QQ: Tensor, z: int) -> _Code:
    values, vectors = torch.linalg.eigh(cov_QQ)
    values, vectors = values.flip(0)[:z], vectors.flip(1)[:, :z]
    scale = values.clamp_min(max(FLOOR * values[0].item(), 1e-12)).sqrt()
    return _Code(mean_Q, vectors / scale, (vectors * scale).T)


def _procrustes(cross_ZZ: Tensor) -> Tensor:
    """Returns the rotation R that best maps codes a to b, from their cross-covariance a^T b."""
    u, _, vh = torch.linalg.svd(cross_ZZ)
    rotation_ZZ: Tensor = u @ vh
    return rotation_ZZ


def _write(encoder: nn.Linear, decoder: nn.Linear, code: _Code) -> None:
    encoder.weight.copy_(code.encode_QZ.T)
    encoder.bias.copy_(-(code.mean_Q @ code.encode_QZ))
    decoder.weight.copy_(code.decode_ZQ.T)
    decoder.bias.copy_(code.mean_Q)


def _silence(vae: VideoVAE) -> None:
    """Sets the network's last convolutions to zero; the layers before them still receive gradient
    after the first step, because only the outermost weights are zero."""
    for head in (vae.encoder.head, vae.decoder.head):
        last = head[-1] if isinstance(head, nn.Sequential) else head
        for weight in last.parameters():
            nn.init.zeros_(weight)
    bias = vae.conv1.bias
    assert bias is not None
    mu_bias, logvar_bias = bias.chunk(2)
    nn.init.zeros_(mu_bias)
    nn.init.constant_(logvar_bias, START_LOGVAR)
