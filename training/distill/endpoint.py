"""Regression on the endpoint of the real score's sampling path, beside distribution matching.

The student's evaluation goes from noisy latents to clean ones in one step; the real score takes
several steps. The endpoint of its path is the teacher's picture for the same noise, so it can be a
target of the student. Distribution matching moves the student only along differences of the two
scores, and does not correct what neither of them detects, such as patches. The report has no such
term: it is off by default. The noisy latents come from the student's own rollout, so nothing is
computed ahead.

Legend: B batch, C latent channels, F latent frames, M motion latents, h w latent size, N steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from flashtalk.errors import InputError
from training.distill.rollout import impose
from training.objective.dmd import LEAST_DISTANCE, generated_mean
from training.objective.flow_matching import warp

LevelVelocity = Callable[[Tensor, Tensor], Tensor]
"""``(x [B, C, F, h, w], sigma [B]) -> v``."""


@dataclass(frozen=True)
class EndpointConfig:
    """Settings of the endpoint regression.

    Args:
        weight: relative to the loss of distribution matching, which has the same scale; 0 disables
            it without cost.
        steps: Euler steps of the path, each with the real score's guidance.
    """

    weight: float = 0.0
    steps: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 100:
            raise InputError("endpoint.weight", self.weight, "0 to 100")
        if not 1 <= self.steps <= 1000:
            raise InputError("endpoint.steps", self.steps, "1 to 1000")


def path_levels(sigma_B: Tensor, steps: int, shift: float) -> Tensor:
    """Returns noise levels [N + 1, B] from each sample's to 0, evenly spaced before the shift."""
    fractions = torch.linspace(1, 0, steps + 1, device=sigma_B.device)
    unshifted_B = warp(sigma_B, 1 / shift)
    return warp(fractions[:, None] * unshifted_B, shift)


@torch.no_grad()
def path_end(
    velocity: LevelVelocity,
    x_BCFHW: Tensor,
    motion_BCMHW: Tensor,
    held_B: Tensor,
    levels_NB: Tensor,
) -> Tensor:
    """Returns the clean latents, float32, after Euler steps along the velocity.

    Args:
        velocity: the real score with its conditions and its guidance.
        x_BCFHW: noisy latents.
        motion_BCMHW: motion latents of the chunk; clean at its first positions.
        held_B: int64, number of valid motion latents.
        levels_NB: result of ``path_levels``; the first are those of ``x``.
    """
    x = impose(x_BCFHW.float(), motion_BCMHW, held_B)
    for here_B, next_B in pairwise(levels_NB):
        step_B = (next_B - here_B)[:, None, None, None, None]
        x = impose(x + step_B * velocity(x, here_B).float(), motion_BCMHW, held_B)
    return x


def endpoint_loss(x0_BCFHW: Tensor, end_BCFHW: Tensor, held_B: Tensor) -> Tensor:
    """Returns half the squared error over the generated positions, divided by its mean size.

    Its gradient with respect to ``x0`` has the scale of ``dmd.matching_gradient``: about 1 for
    every value, independent of a sample's distance to its endpoint.
    """
    error = x0_BCFHW.float() - end_BCFHW.detach().float()
    distance_B = generated_mean(error.detach().abs(), held_B).clamp(min=LEAST_DISTANCE)
    return (0.5 * generated_mean(error.square(), held_B) / distance_B).mean()
