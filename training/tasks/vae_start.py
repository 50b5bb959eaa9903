"""Closed-form first weights of a VAE with a linear bypass: the principal components of clips.

Legend: N patches or tubes of the data, P values per patch (192), Q values per tube (768), Z latent
channels.
"""

import torch
from torch import Tensor

from flashtalk.models.vae.bypass import TEMPORAL_STRIDE, tubes
from flashtalk.models.vae.model import VideoVAE


def _components(rows_ND: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [D], whitening [D, Z] and its inverse [Z, D] of the leading components."""
    mean_D = rows_ND.mean(0)
    centred = rows_ND - mean_D
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(rows_ND))
    scale_Z = values[-count:].flip(0).clamp_min(1e-6).sqrt()
    basis_DZ = vectors[:, -count:].flip(1)
    return mean_D, basis_DZ / scale_Z, (basis_DZ * scale_Z).T


@torch.no_grad()
def start_from_components(model: VideoVAE, video_BCTHW: Tensor) -> None:
    """Makes the VAE the whitened principal-component code of ``video_BCTHW``.

    The network's own contribution starts at zero. The components of 4-frame tubes are rotated so
    that a still picture has about the same code in latent 0 and in the latents after it.

    Args:
        model: a VAE whose config has ``linear_bypass``.
        video_BCTHW: clips [B, 3, 1 + 4n, H, W] in [-1, 1], n >= 1.
    """
    count = model.config.z_channels
    encoder, decoder = model.bypass_encoder, model.bypass_decoder
    patches_NP = tubes(video_BCTHW[:, :, :1], 1).flatten(0, -2).double()
    tubes_NQ = tubes(video_BCTHW[:, :, 1:], TEMPORAL_STRIDE).flatten(0, -2).double()
    first_P, first_in, first_out = _components(patches_NP, count)
    later_Q, later_in, later_out = _components(tubes_NQ, count)
    still_NQ = patches_NP.repeat(1, TEMPORAL_STRIDE)
    agreement = ((still_NQ - later_Q) @ later_in).T @ ((patches_NP - first_P) @ first_in)
    left, _, right = torch.linalg.svd(agreement)
    turn_ZZ = left @ right
    later_in, later_out = later_in @ turn_ZZ, turn_ZZ.T @ later_out
    for linear, weight, bias in (
        (encoder.first, first_in.T, -first_P @ first_in),
        (encoder.later, later_in.T, -later_Q @ later_in),
        (decoder.first, first_out.T, first_P),
        (decoder.later, later_out.T, later_Q),
    ):
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    last = model.decoder.head[-1]
    for tensor in (model.conv1.weight, model.conv1.bias, last.weight, last.bias):
        assert isinstance(tensor, Tensor)
        tensor.zero_()
