"""Retrospective rollout: the student continues its own video; one evaluation has a graph.

Report section 4.2 and Algorithm 1. The chunks before the last are sampled as in inference, decoded,
and their last frames are encoded again: the student is trained on the inputs that it gets in
inference.

Legend: B batch, C latent channels, F latent frames, M motion latents, h w latent size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from flashtalk.diffusion.sample import VelocityFn, impose_motion, predict_x0, renoise, sample
from flashtalk.errors import InputError
from training.core.draws import SharedDraws
from training.objective.dmd import held_mask
from training.objective.motion_jitter import NO_JITTER, MotionJitter

Previous = Literal["full", "same"]
ChunkVelocity = Callable[[int], VelocityFn]
"""``chunk, from 0 -> the student's velocity with that chunk's speech``."""

NextMotion = Callable[[Tensor], Tensor]
"""``latents of a chunk [B, C, F, h, w] -> motion latents [B, C, 2, h, w] of the next one``."""


@dataclass(frozen=True)
class Exit:
    """The end of a rollout: chunk 1 to K, and evaluation 1 to T of its sampler."""

    chunk: int
    step: int


@dataclass(frozen=True)
class ExitOdds:
    """The distribution of exits (report Table 2).

    Args:
        chunks: K, the maximum length.
        fixed: always K; else uniform on 1 to K, both included.
        steps: T of the student's sampler.
    """

    chunks: int = 5
    fixed: bool = False
    steps: int = 4

    def __post_init__(self) -> None:
        for field in ("chunks", "steps"):
            if getattr(self, field) < 1:
                raise InputError(field, getattr(self, field), "at least 1")

    def draw(self, rng: np.random.Generator) -> Exit:
        """Draws one exit; cooperating ranks must use the same one (``World.agree``)."""
        chunk = self.chunks if self.fixed else int(rng.integers(1, self.chunks + 1))
        return Exit(chunk, int(rng.integers(1, self.steps + 1)))


@dataclass(frozen=True)
class ExitState:
    """The inputs of the last evaluation of each sample, without a graph.

    Args:
        x_BCFHW: noisy latents, with the student's motion latents at their head.
        sigma_B: float32 noise levels.
        motion_BCMHW: the latents that the chunk continues, without a jitter.
        held_B: int64, number of valid motion latents.
        chunk_B: int64, number of the chunk, from 0.
    """

    x_BCFHW: Tensor
    sigma_B: Tensor
    motion_BCMHW: Tensor
    held_B: Tensor
    chunk_B: Tensor

    def rows(self, rows: Tensor) -> ExitState:
        """Returns those of some of the samples."""
        return ExitState(*(getattr(self, field.name)[rows] for field in fields(self)))

    def clean(self, v_BCFHW: Tensor) -> Tensor:
        """Returns the clean latents of a velocity, as predicted."""
        sigma = self.sigma_B[:, None, None, None, None]
        return self.x_BCFHW.float() - sigma * v_BCFHW.float()

    def with_motion(self, raw_BCFHW: Tensor) -> Tensor:
        """Returns clean latents with the motion latents at their positions."""
        return impose(raw_BCFHW, self.motion_BCMHW, self.held_B)


def impose(x_BCFHW: Tensor, motion_BCMHW: Tensor, held_B: Tensor) -> Tensor:
    """Returns ``x`` with the first ``held_B`` latent frames of each sample from motion latents."""
    count = motion_BCMHW.shape[2]
    mask = held_mask(held_B, x_BCFHW)[:, :, :count]
    head = torch.where(mask, motion_BCMHW.to(x_BCFHW), x_BCFHW[:, :, :count])
    return torch.cat((head, x_BCFHW[:, :, count:]), dim=2)


def roll_out(
    velocity_of: ChunkVelocity,
    motion_z: Tensor,
    shape: Sequence[int],
    sigmas: Sequence[float],
    at: Exit,
    next_motion: NextMotion,
    draws: SharedDraws,
    *,
    previous: Previous = "full",
    jitter: MotionJitter = NO_JITTER,
    graph: bool = True,
) -> tuple[ExitState, Tensor]:
    """Samples chunks up to the exit.

    Args:
        velocity_of: the student.
        motion_z: [B, C, M, h, w] motion latents of the first chunk: the portrait's one latent or
            two of a true video.
        shape: (B, C, F, h, w).
        sigmas: of the student's sampler, ending in 0.
        at: the exit; nothing after it is computed.
        next_motion: decode, last frames, encode.
        draws: source of all noise.
        previous: the chunks before the last run all steps (``full``, as inference does), or stop
            at the same step as the last (``same``, as the paradigm's own code does).
        jitter: of the last chunk's motion latents.
        graph: whether the last evaluation has a graph; all others have none.

    Returns:
        The inputs of the last evaluation, and the clean latents that it predicts, unchanged.
    """
    if not 1 <= at.step < len(sigmas):
        raise InputError("exit step", at.step, f"1 to {len(sigmas) - 1}")

    def noise(_: int) -> Tensor:
        return draws.normal(shape).to(motion_z.device)

    motion = motion_z.detach()
    with torch.no_grad():
        for chunk in range(at.chunk - 1):
            velocity = velocity_of(chunk)
            if previous == "full":
                z = sample(velocity, motion, shape, sigmas, noise)
            else:
                x, sigma = noisy_until(velocity, motion, shape, sigmas, noise, at.step)
                z = predict_x0(x, velocity(x, sigma), sigma)
                z = impose_motion(z, motion)
            motion = next_motion(z).detach()
        velocity = velocity_of(at.chunk - 1)
        handed = jitter.disturb(motion, draws)
        x, sigma = noisy_until(velocity, handed, shape, sigmas, noise, at.step)
    with torch.set_grad_enabled(graph):
        raw = predict_x0(x, velocity(x, sigma), sigma)
    count, device = len(x), x.device
    state = ExitState(
        x,
        torch.full((count,), sigma, device=device),
        motion,
        torch.full((count,), motion.shape[2], device=device),
        torch.full((count,), at.chunk - 1, device=device),
    )
    return state, raw


def noisy_until(
    velocity: VelocityFn,
    motion_z: Tensor,
    shape: Sequence[int],
    sigmas: Sequence[float],
    noise: Callable[[int], Tensor],
    step: int,
) -> tuple[Tensor, float]:
    """Returns the inputs of evaluation ``step`` of ``sample``: noisy latents and noise level."""
    x = impose_motion(noise(0), motion_z)
    for number in range(1, step):
        x0 = predict_x0(x, velocity(x, sigmas[number - 1]), sigmas[number - 1])
        x = impose_motion(renoise(x0, noise(number), sigmas[number]), motion_z)
    return x, sigmas[step - 1]
