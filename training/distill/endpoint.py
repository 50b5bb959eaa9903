"""Regression on the ends of the real score's own path, beside distribution matching.

The student's evaluation jumps from noisy latents to clean ones; the real score walks there in
steps. Where that walk ends is a picture that the teacher would have made of the same noise, so the
student may be drawn to it. Distribution matching alone moves the student to whatever the two scores
tell apart, and leaves what neither of them sees, such as patches. The report has nothing of this
kind: it is off by default. The noisy latents are the student's own, of its rollout, so nothing is
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
from training.distill.own_exits import impose
from training.objective.dmd import LEAST_DISTANCE, generated_mean
from training.objective.flow_matching import warp

LevelVelocity = Callable[[Tensor, Tensor], Tensor]
"""``(x [B, C, F, h, w], sigma [B]) -> v``."""


@dataclass(frozen=True)
class EndpointConfig:
    """How much the student is drawn to the end of the teacher's path.

    Args:
        weight: beside the loss of distribution matching, whose scale it shares; 0 is none, and
            costs nothing.
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
    """Noise levels [N + 1, B] from each sample's own down to 0, evenly spaced before the shift."""
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
    """Clean latents, float32, at which Euler steps along the velocity arrive.

    Args:
        velocity: the real score with its conditions and its guidance.
        x_BCFHW: noisy latents.
        motion_BCMHW: what the chunk continues; stands clean at its head.
        held_B: int64, how many of these there are.
        levels_NB: of ``path_levels``; the first are those of ``x``.
    """
    x = impose(x_BCFHW.float(), motion_BCMHW, held_B)
    for here_B, next_B in pairwise(levels_NB):
        step_B = (next_B - here_B)[:, None, None, None, None]
        x = impose(x + step_B * velocity(x, here_B).float(), motion_BCMHW, held_B)
    return x


def endpoint_loss(x0_BCFHW: Tensor, end_BCFHW: Tensor, held_B: Tensor) -> Tensor:
    """Half the squared error over the generated positions, over its own mean size.

    Its gradient with respect to ``x0`` has the scale of ``dmd.matching_gradient``: about 1 for
    every value, however far the sample is from its end.
    """
    error = x0_BCFHW.float() - end_BCFHW.detach().float()
    distance_B = generated_mean(error.detach().abs(), held_B).clamp(min=LEAST_DISTANCE)
    return (0.5 * generated_mean(error.square(), held_B) / distance_B).mean()
