"""Stage 1 objective: the noised input of Eq. 1 and the velocity loss (report section 3, Eq. 1).

Legend: B batch, C latent channels (16), F latent frames (9), h w latent size.
Forward process: x_s = (1 - s) x0 + s eps; the network predicts v = eps - x0.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Corruption:
    """What a batch of B samples draws besides the data.

    Args:
        sigma_B: float32 noise level, one per sample, in (0, 1].
        clean_B: int64 number of leading latents that are clean motion latents in the loss mask
            (1 for cold starts, else 2).
        noisy_motion_B: bool; the motion latents are noised like the rest.
        drop_audio_B, drop_text_B: bool; that condition is dropped.
    """

    sigma_B: Tensor
    clean_B: Tensor
    noisy_motion_B: Tensor
    drop_audio_B: Tensor
    drop_text_B: Tensor

    def rows(self, mine: slice) -> "Corruption":
        """Those of a part of the batch."""
        return Corruption(*(getattr(self, field.name)[mine] for field in fields(self)))


@dataclass(frozen=True)
class CorruptionRates:
    """Probabilities of dropped conditions and of noisy motion latents; noise levels.

    ``drop_audio`` and ``drop_text`` count the samples that lose only that condition,
    ``drop_both`` those that lose both; the three exclude each other.
    """

    noisy_motion: float = 0.3
    drop_audio: float = 0.10
    drop_text: float = 0.10
    drop_both: float = 0.05
    shift: float = 5.0
    unshifted: float = 0.5
    motion_latents: int = 2


def warp(u: Tensor, shift: float) -> Tensor:
    """Timestep shift a u / (1 + (a - 1) u)."""
    return shift * u / (1.0 + (shift - 1.0) * u)


def draw_corruption(
    rates: CorruptionRates, cold_B: np.ndarray, generator: np.random.Generator
) -> Corruption:
    """Random choices for a batch; ``cold_B`` says which samples are in cold-start mode."""
    size = len(cold_B)
    # 1 - U[0,1) is never 0: a sample without noise has no velocity to learn.
    u = torch.from_numpy(1.0 - generator.random(size)).float()
    shifted = torch.from_numpy(generator.random(size) >= rates.unshifted)
    chance = generator.random(size)
    both = chance < rates.drop_both
    audio = chance < rates.drop_both + rates.drop_audio
    text = both | (~audio & (chance < rates.drop_both + rates.drop_audio + rates.drop_text))
    cold = torch.from_numpy(cold_B)
    return Corruption(
        sigma_B=torch.where(shifted, warp(u, rates.shift), u),
        clean_B=torch.where(cold, 1, rates.motion_latents),
        noisy_motion_B=torch.from_numpy(generator.random(size) < rates.noisy_motion),
        drop_audio_B=torch.from_numpy(audio),
        drop_text_B=torch.from_numpy(text),
    )


def motion_mask(clean_B: Tensor, latent_frames: int) -> Tensor:
    """Returns bool [B, 1, F, 1, 1]: True at motion positions 0 .. clean - 1 of each sample."""
    positions_F = torch.arange(latent_frames, device=clean_B.device)
    return (positions_F[None] < clean_B[:, None])[:, None, :, None, None]


def noised_input(
    z_BCFHW: Tensor, noise_BCFHW: Tensor, corruption: Corruption, held_BCFHW: Tensor | None = None
) -> Tensor:
    """Returns x_s with clean latents at the motion positions (except in noisy mode).

    Args:
        z_BCFHW, noise_BCFHW: clean latents and the noise that is mixed in.
        corruption: noise levels and modes.
        held_BCFHW: what is written there instead, e.g. with a jitter; only the leading positions
            count.
    """
    sigma = corruption.sigma_B.to(z_BCFHW)[:, None, None, None, None]
    x_BCFHW = (1.0 - sigma) * z_BCFHW + sigma * noise_BCFHW
    keep = motion_mask(corruption.clean_B, z_BCFHW.shape[2])
    keep = keep & ~corruption.noisy_motion_B[:, None, None, None, None]
    held_BCFHW = z_BCFHW if held_BCFHW is None else held_BCFHW
    return torch.where(keep.to(z_BCFHW.device), held_BCFHW, x_BCFHW)


def velocity_loss(
    v_BCFHW: Tensor,
    z_BCFHW: Tensor,
    noise_BCFHW: Tensor,
    clean_B: Tensor,
    weight_B1FHW: Tensor | None = None,
    mean: Callable[[Tensor], Tensor] = lambda total: total,
) -> Tensor:
    """Returns the mean squared velocity error over the generated positions, in float32.

    Args:
        v_BCFHW: prediction of ``noise - z``.
        z_BCFHW, noise_BCFHW: clean latents and the noise that was mixed in.
        clean_B: leading positions of each sample that do not count.
        weight_B1FHW: weights of the positions, default 1.
        mean: mean over ranks, applied to the sum of weights: the mean of the ranks' losses is then
            the loss of the whole batch.
    """
    error = (v_BCFHW.float() - (noise_BCFHW.float() - z_BCFHW.float())).square()
    generated = ~motion_mask(clean_B, z_BCFHW.shape[2]).to(z_BCFHW.device)
    weight = generated.float() if weight_B1FHW is None else generated * weight_B1FHW
    weight = weight.expand_as(error)
    return (error * weight).sum() / mean(weight.sum())


@dataclass(frozen=True)
class VelocityErrors:
    """A prediction and its target; computes the loss for any weights."""

    v_BCFHW: Tensor
    z_BCFHW: Tensor
    noise_BCFHW: Tensor
    clean_B: Tensor

    def loss(
        self,
        weight_B1FHW: Tensor | None = None,
        mean: Callable[[Tensor], Tensor] = lambda total: total,
    ) -> Tensor:
        """Returns ``velocity_loss`` with these weights."""
        return velocity_loss(
            self.v_BCFHW, self.z_BCFHW, self.noise_BCFHW, self.clean_B, weight_B1FHW, mean
        )
