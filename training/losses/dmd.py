"""Distribution matching: where a student's chunk should move, as two scores see it.

Report section 4.2, Eq. 2 and Table 3. Pure functions. The scores are compared as predictions of the
clean latents, with the scale-free weight of the paradigm that the report follows (training
specification 2.2): the factor that depends on the noise level is replaced by one over the distance
of the student from the teacher.

Legend: B batch, C latent channels, F latent frames, M motion latents, h w latent size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from flashtalk.errors import InputError
from training.core.draws import SharedDraws

LEAST_DISTANCE = 1e-3


@dataclass(frozen=True)
class MotionPolicy:
    """What the scorers see at the motion positions (report Table 3; the defaults are its best row).

    Args:
        source: ``predicted``, the student's own motion latents; or ``gt``, those of the true video,
            for the real score only.
        add_noise: the motion latents are noised like the rest; else they stand clean.
        calc_loss: the motion positions count in the student's loss too.
        noise: ``same_t``, as noisy as the generated latents; or ``small``, 0.02 to 0.1.
    """

    source: Literal["predicted", "gt"] = "predicted"
    add_noise: bool = True
    calc_loss: bool = False
    noise: Literal["same_t", "small"] = "same_t"
    small_sigma: tuple[float, ...] = (0.02, 0.1)

    def __post_init__(self) -> None:
        if len(self.small_sigma) != 2 or not 0 <= self.small_sigma[0] <= self.small_sigma[1] <= 1:
            raise InputError("small_sigma", self.small_sigma, "two rising numbers from 0 to 1")


@dataclass(frozen=True)
class NoiseDraw:
    """One noise level per sample and what is mixed in.

    Args:
        sigma_B: float32, of the generated positions.
        motion_sigma_B: float32, of the motion positions; 0 leaves them clean.
        noise_BCFHW: standard normal.
    """

    sigma_B: Tensor
    motion_sigma_B: Tensor
    noise_BCFHW: Tensor


def draw_sigma(
    batch: int,
    draws: SharedDraws,
    shift: float = 5.0,
    low: float = 0.02,
    high: float = 0.98,
) -> Tensor:
    """Noise levels [B] of the scorers: all of them, whatever step the student stopped at (2.2)."""
    u = draws.integers(1000, (batch,)).float() / 1000.0
    return (shift * u / (1.0 + (shift - 1.0) * u)).clamp(low, high)


def draw_noise(
    shape: tuple[int, ...], policy: MotionPolicy, draws: SharedDraws, shift: float = 5.0
) -> NoiseDraw:
    """The noise of one look of a scorer at latents of ``shape`` [B, C, F, h, w]."""
    sigma_B = draw_sigma(shape[0], draws, shift)
    if not policy.add_noise:
        motion_sigma_B = torch.zeros_like(sigma_B)
    elif policy.noise == "same_t":
        motion_sigma_B = sigma_B
    else:
        low, high = policy.small_sigma
        motion_sigma_B = low + (high - low) * draws.uniform(shape[:1])
    return NoiseDraw(sigma_B, motion_sigma_B, draws.normal(shape))


def scorer_input(x0_BCFHW: Tensor, motion_BCMHW: Tensor, drawn: NoiseDraw) -> Tensor:
    """Noisy latents as a scorer gets them.

    Args:
        x0_BCFHW: the student's chunk.
        motion_BCMHW: what stands at its first M positions, clean.
        drawn: noise levels and noise.
    """
    motion = motion_BCMHW.shape[2]
    clean = torch.cat((motion_BCMHW.to(x0_BCFHW), x0_BCFHW[:, :, motion:]), dim=2)
    sigma = drawn.sigma_B.to(clean)[:, None].repeat(1, clean.shape[2])
    sigma[:, :motion] = drawn.motion_sigma_B.to(clean)[:, None]
    sigma = sigma[:, None, :, None, None]
    return (1 - sigma) * clean + sigma * drawn.noise_BCFHW.to(clean)


def predicted_x0(x_BCFHW: Tensor, v_BCFHW: Tensor, sigma_B: Tensor) -> Tensor:
    """Clean latents that a velocity points to, float32."""
    return x_BCFHW.float() - sigma_B.to(x_BCFHW.device)[:, None, None, None, None] * v_BCFHW.float()


def matching_gradient(
    x0_BCFHW: Tensor, fake_BCFHW: Tensor, real_BCFHW: Tensor, motion: int
) -> Tensor:
    """The direction in which the student's latents are wrong (2.2, item 5).

    Args:
        x0_BCFHW: the student's chunk.
        fake_BCFHW, real_BCFHW: what the two scorers take for its clean form.
        motion: positions at the head that do not count in the distance.

    Returns:
        (fake - real) / mean distance of the student from the real score, per sample; zero where
        either is not finite.
    """
    distance = (x0_BCFHW - real_BCFHW)[:, :, motion:].abs().flatten(1).mean(1)
    scale = distance.clamp(min=LEAST_DISTANCE)[:, None, None, None, None]
    return torch.nan_to_num((fake_BCFHW - real_BCFHW) / scale, nan=0.0, posinf=0.0, neginf=0.0)


def matching_loss(
    x0_BCFHW: Tensor,
    gradient_BCFHW: Tensor,
    motion: int,
    policy: MotionPolicy,
    weight_B1FHW: Tensor | None = None,
) -> Tensor:
    """A loss whose gradient with respect to ``x0`` is ``gradient`` over the number of values.

    Args:
        x0_BCFHW: with the graph of the student's last evaluation.
        gradient_BCFHW: of ``matching_gradient``.
        motion: positions at the head, which count only if the policy says so.
        policy: see there.
        weight_B1FHW: what positions count, 1 each without it.
    """
    first = 0 if policy.calc_loss else motion
    target = (x0_BCFHW - gradient_BCFHW).detach()
    error = (x0_BCFHW.float() - target.float()).square()[:, :, first:]
    if weight_B1FHW is None:
        return 0.5 * error.mean()
    weight = weight_B1FHW[:, :, first:].to(error).expand_as(error)
    return 0.5 * (error * weight).sum() / weight.sum()


def fake_loss(v_BCFHW: Tensor, x0_BCFHW: Tensor, noise_BCFHW: Tensor, motion: int) -> Tensor:
    """How well the fake score knows the student's latents: velocity error, generated ones only."""
    target = noise_BCFHW.to(x0_BCFHW).float() - x0_BCFHW.float()
    return (v_BCFHW.float() - target)[:, :, motion:].square().mean()
