"""A rollout in which every sample has its own exit.

Equivalent to ``rollout.roll_out`` for a batch with one exit, but samples can end in different
chunks and at different steps. They run in parallel: a step evaluates the samples that have not
ended, and the caller can make the evaluations at the exits, which may need a graph, in one batch.

Legend: B samples, C latent channels, F latent frames, M motion latents, h w latent size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from flashtalk.diffusion.sample import VelocityFn, predict_x0, renoise
from flashtalk.errors import InputError
from training.core.draws import SharedDraws
from training.distill.rollout import Exit, ExitState, NextMotion, Previous, impose
from training.objective.motion_jitter import NO_JITTER, MotionJitter

RowsVelocity = Callable[[int, Tensor], VelocityFn]
"""``chunk, from 0, and int64 rows -> the student's velocity of these samples in that chunk``."""


@torch.no_grad()
def roll_out_per_sample(
    velocity_of: RowsVelocity,
    motion_z: Tensor,
    held_B: Tensor,
    shape: Sequence[int],
    sigmas: Sequence[float],
    exits: Sequence[Exit],
    mine: slice,
    next_motion: NextMotion,
    draws: SharedDraws,
    *,
    previous: Previous = "full",
    jitter: MotionJitter = NO_JITTER,
) -> ExitState:
    """Samples chunks up to the exits, without the evaluations at the exits.

    Args:
        velocity_of: the student.
        motion_z: [B, C, M, h, w] motion latents of the first chunks.
        held_B: int64, number of valid ones: one at the beginning of a stream.
        shape: (B, C, F, h, w).
        sigmas: of the student's sampler, ending in 0.
        exits: of all samples of all ranks: every rank must take part in the same evaluations.
        mine: this rank's B of them.
        next_motion, draws, previous, jitter: as in ``roll_out``; equal exits give its result.
    """
    last = len(sigmas) - 1
    for at in exits:
        if not 1 <= at.step <= last:
            raise InputError("exit step", at.step, f"1 to {last}")
    device, motion = motion_z.device, motion_z.detach()

    def noise() -> Tensor:
        return draws.normal(shape).to(device)

    at_exit: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    own = list(exits)[mine]
    for chunk in range(max(at.chunk for at in exits)):
        leaving = [at.chunk == chunk + 1 for at in exits]
        handed = motion
        if any(leaving):
            leaves_B = torch.tensor(leaving[mine], device=device)[:, None, None, None, None]
            handed = torch.where(leaves_B, jitter.disturb(motion, draws), motion)
        counts = [_evaluations(at, chunk, last, previous) for at in exits]
        x, z = _through_chunk(
            partial(velocity_of, chunk), handed, held_B, sigmas, noise, counts, leaving, mine
        )
        for row in _which(at.chunk == chunk + 1 for at in own):
            at_exit[row] = (x[row], motion[row], held_B[row])
        if going := _which(at.chunk > chunk + 1 for at in own):
            rows = torch.tensor(going, device=device)
            new = next_motion(impose(z[rows], motion[rows], held_B[rows])).detach()
            motion = motion.index_copy(0, rows, new.to(motion))
            held_B = held_B.index_fill(0, rows, new.shape[2])
    xs, motions, held = zip(*(at_exit[row] for row in range(len(own))), strict=True)
    sigma_B, chunk_B = levels_and_chunks(own, sigmas, device)
    return ExitState(torch.stack(xs), sigma_B, torch.stack(motions), torch.stack(held), chunk_B)


def _through_chunk(
    velocity_of: Callable[[Tensor], VelocityFn],
    handed: Tensor,
    held_B: Tensor,
    sigmas: Sequence[float],
    noise: Callable[[], Tensor],
    counts: Sequence[int],
    leaving: Sequence[bool],
    mine: slice,
) -> tuple[Tensor, Tensor]:
    """Returns noisy latents after that many evaluations of each sample, and the last clean ones.

    ``counts`` and ``leaving`` (the sampler continues after these evaluations) are of all ranks.
    """
    x = z = impose(noise(), handed, held_B)
    for step in range(1, max(counts) + 1):
        active = _which(count >= step for count in counts[mine])
        # A rank without samples takes part in the collective evaluation.
        rows = torch.tensor(active or [0], device=x.device)
        v = velocity_of(rows)(x[rows], sigmas[step - 1])
        x0 = predict_x0(x[rows], v, sigmas[step - 1])
        goes_on = any(
            count > step or (count == step and leaves)
            for count, leaves in zip(counts, leaving, strict=True)
        )
        fresh = noise() if goes_on else x
        if active:
            z = z.index_copy(0, rows, x0)
            noisy = renoise(x0, fresh[rows], sigmas[step])
            x = x.index_copy(0, rows, impose(noisy, handed[rows], held_B[rows]))
    return x, z


def _which(flags: Iterable[bool]) -> list[int]:
    return [row for row, flag in enumerate(flags) if flag]


def levels_and_chunks(
    exits: Sequence[Exit], sigmas: Sequence[float], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Returns ``sigma_B`` and ``chunk_B`` of exits."""
    return (
        torch.tensor([sigmas[at.step - 1] for at in exits], dtype=torch.float32, device=device),
        torch.tensor([at.chunk - 1 for at in exits], device=device),
    )


def _evaluations(at: Exit, chunk: int, last: int, previous: Previous) -> int:
    """Returns the number of evaluations of a sample's chunk before its exit."""
    if at.chunk < chunk + 1:
        return 0
    if at.chunk == chunk + 1:
        return at.step - 1
    return last if previous == "full" else at.step
