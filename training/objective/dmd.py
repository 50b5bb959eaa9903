"""Distribution matching: the direction of a student's chunk, from two scores.

Report section 4.2, Eq. 2 and Table 3. Pure functions. The scores are compared as predictions of the
clean latents, with the scale-free weight of the paradigm that the report follows: the factor that
depends on the noise level is replaced by one over the distance of the student from the teacher.

The number of motion latents at the head of a chunk is one number for all samples, or int64 [B]: one
at the beginning of a stream, with the portrait, two later.

Legend: B batch, C latent channels, F latent frames, M motion latents, h w latent size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from flashtalk.errors import InputError
from training.core.draws import SharedDraws
from training.objective.flow_matching import motion_mask, warp

LEAST_DISTANCE = 1e-3


@dataclass(frozen=True)
class MotionPolicy:
    """The scorers' motion latents (report Table 3; the defaults are its best row).

    Args:
        source: ``predicted``, the student's own motion latents; or ``gt``, those of the true video,
            for the real score only.
        add_noise: the motion latents are noised like the rest; else they are clean.
        calc_loss: the motion positions count in the student's loss too.
        noise: ``same_t``, as noisy as the generated latents; or ``small``, 0.02 to 0.1.
        teacher_noise: False leaves them clean for the real score alone.
        tie: weight of ``tie_loss``, the distance between the student's and the real score's
            predictions at the motion positions; 0: none. This and ``teacher_noise`` are not the
            report's: a public reproduction of it found them better.
    """

    source: Literal["predicted", "gt"] = "predicted"
    add_noise: bool = True
    calc_loss: bool = False
    noise: Literal["same_t", "small"] = "same_t"
    small_sigma: tuple[float, ...] = (0.02, 0.1)
    teacher_noise: bool = True
    tie: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.tie <= 100:
            raise InputError("tie", self.tie, "0 to 100")
        if len(self.small_sigma) != 2 or not 0 <= self.small_sigma[0] <= self.small_sigma[1] <= 1:
            raise InputError("small_sigma", self.small_sigma, "two rising numbers from 0 to 1")


@dataclass(frozen=True)
class NoiseDraw:
    """One noise level per sample, and the noise.

    Args:
        sigma_B: float32, of the generated positions.
        motion_sigma_B: float32, of the motion positions; 0 leaves them clean.
        noise_BCFHW: standard normal.
    """

    sigma_B: Tensor
    motion_sigma_B: Tensor
    noise_BCFHW: Tensor


def clean_motion(drawn: NoiseDraw) -> NoiseDraw:
    """Returns the same noise, without any at the motion positions."""
    return replace(drawn, motion_sigma_B=torch.zeros_like(drawn.motion_sigma_B))


def draw_sigma(
    batch: int, draws: SharedDraws, shift: float = 5.0, low: float = 0.02, high: float = 0.98
) -> Tensor:
    """Returns noise levels [B] of the scorers: from all of them, whatever step is the exit.

    A share of 1 / (1 + shift) is below 0.5.
    """
    u = draws.integers(1000, (batch,)).float() / 1000.0
    return warp(u, shift).clamp(low, high)


def draw_noise(
    shape: tuple[int, ...], policy: MotionPolicy, draws: SharedDraws, shift: float = 5.0
) -> NoiseDraw:
    """Draws the noise of one evaluation of a scorer for latents of ``shape`` [B, C, F, h, w]."""
    sigma_B = draw_sigma(shape[0], draws, shift)
    if not policy.add_noise:
        motion_sigma_B = torch.zeros_like(sigma_B)
    elif policy.noise == "same_t":
        motion_sigma_B = sigma_B
    else:
        low, high = policy.small_sigma
        motion_sigma_B = low + (high - low) * draws.uniform(shape[:1])
    return NoiseDraw(sigma_B, motion_sigma_B, draws.normal(shape))


def scorer_input(
    x0_BCFHW: Tensor, motion_BCMHW: Tensor, drawn: NoiseDraw, held: int | Tensor | None = None
) -> Tensor:
    """Returns noisy latents, the input of a scorer.

    Args:
        x0_BCFHW: the student's chunk.
        motion_BCMHW: its motion latents, clean.
        drawn: noise levels and noise.
        held: number of valid motion latents; default: all.
    """
    motion = motion_BCMHW.shape[2]
    mask = held_mask(motion if held is None else held, x0_BCFHW)
    head = torch.where(mask[:, :, :motion], motion_BCMHW.to(x0_BCFHW), x0_BCFHW[:, :, :motion])
    clean = torch.cat((head, x0_BCFHW[:, :, motion:]), dim=2)
    levels = (drawn.motion_sigma_B, drawn.sigma_B)
    of_motion, of_rest = (level.to(clean)[:, None, None, None, None] for level in levels)
    sigma = torch.where(mask, of_motion, of_rest)
    return (1 - sigma) * clean + sigma * drawn.noise_BCFHW.to(clean)


def held_mask(held: int | Tensor, x_BCFHW: Tensor) -> Tensor:
    """Returns bool [B, 1, F, 1, 1] on the device of ``x``: True at each motion position."""
    if isinstance(held, int):
        held = torch.full((x_BCFHW.shape[0],), held, dtype=torch.int64)
    return motion_mask(held.to(x_BCFHW.device), x_BCFHW.shape[2])


def generated_mean(values_BCFHW: Tensor, held: int | Tensor) -> Tensor:
    """Returns means [B] over the positions after the motion latents."""
    kept = (~held_mask(held, values_BCFHW)).to(values_BCFHW).expand_as(values_BCFHW)
    return (values_BCFHW * kept).flatten(1).sum(1) / kept.flatten(1).sum(1)


def predicted_x0(x_BCFHW: Tensor, v_BCFHW: Tensor, sigma_B: Tensor) -> Tensor:
    """Returns the clean latents of a velocity, float32."""
    return x_BCFHW.float() - sigma_B.to(x_BCFHW.device)[:, None, None, None, None] * v_BCFHW.float()


def matching_gradient(
    x0_BCFHW: Tensor, fake_BCFHW: Tensor, real_BCFHW: Tensor, held: int | Tensor
) -> Tensor:
    """Returns the direction of the student's error.

    Args:
        x0_BCFHW: the student's chunk.
        fake_BCFHW, real_BCFHW: the two scores' predictions of its clean latents.
        held: positions at the head that do not count in the distance.

    Returns:
        (fake - real) / mean distance of the student from the real score, per sample; zero where
        either is not finite.
    """
    distance = generated_mean((x0_BCFHW - real_BCFHW).abs(), held)
    scale = distance.clamp(min=LEAST_DISTANCE)[:, None, None, None, None]
    return torch.nan_to_num((fake_BCFHW - real_BCFHW) / scale, nan=0.0, posinf=0.0, neginf=0.0)


def matching_loss(
    x0_BCFHW: Tensor, gradient_BCFHW: Tensor, held: int | Tensor, policy: MotionPolicy
) -> Tensor:
    """Returns a loss whose gradient for ``x0`` is ``gradient`` over the number of values.

    Args:
        x0_BCFHW: with the graph of the student's last evaluation.
        gradient_BCFHW: result of ``matching_gradient``.
        held: positions at the head, which count only if the policy says so.
        policy: treatment of the motion latents.
    """
    target = (x0_BCFHW - gradient_BCFHW).detach()
    error = (x0_BCFHW.float() - target.float()).square()
    return 0.5 * generated_mean(error, 0 if policy.calc_loss else held).mean()


def tie_loss(raw_BCFHW: Tensor, real_BCFHW: Tensor, held: int | Tensor) -> Tensor:
    """Returns the mean squared distance of the student's prediction from the real score's, at the
    motion positions only.

    Args:
        raw_BCFHW: the student's prediction, before its motion latents are written over it.
        real_BCFHW: the real score's prediction of the chunk's clean latents.
        held: number of motion positions.
    """
    kept = held_mask(held, raw_BCFHW).to(raw_BCFHW.dtype).expand_as(raw_BCFHW)
    error = (raw_BCFHW.float() - real_BCFHW.detach().float()).square() * kept
    return (error.flatten(1).sum(1) / kept.flatten(1).sum(1)).mean()


def fake_loss(
    v_BCFHW: Tensor, x0_BCFHW: Tensor, noise_BCFHW: Tensor, held: int | Tensor, policy: MotionPolicy
) -> Tensor:
    """Returns the fake score's mean squared velocity error on the student's latents.

    If the motion positions count in the student's loss, the fake score is trained on them too: else
    its predictions there would stay those of the real score.
    """
    target = noise_BCFHW.to(x0_BCFHW).float() - x0_BCFHW.float()
    error = (v_BCFHW.float() - target).square()
    return generated_mean(error, 0 if policy.calc_loss else held).mean()
