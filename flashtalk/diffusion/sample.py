"""Samplers: from noise to a chunk of latents that continues its motion latents.

Legend: B batch, C latent channels, F latent frames, M motion latents, H W latent size.

The network predicts ``v = eps - x0``, so ``x0 = x - sigma * v``. Pure functions without state; the
caller supplies the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from flashtalk.diffusion.schedule import TRAIN_STEPS
from flashtalk.errors import InputError

VelocityFn = Callable[[Tensor, float], Tensor]
"""``(x [B, C, F, H, W], noise level sigma) -> v [B, C, F, H, W]``; sigma is a Python float, so that
values that depend only on it can be cached (``timestep`` converts it to the network's input)."""

NoiseFn = Callable[[int], Tensor]
"""``step -> standard normal [B, C, F, H, W]``, for example a list's ``__getitem__``."""


def sample(
    velocity_fn: VelocityFn,
    motion_z: Tensor,
    shape: Sequence[int],
    sigmas: Sequence[float],
    noise_fn: NoiseFn,
) -> Tensor:
    """Few-step sampling of the distilled student: predict x0, re-noise, re-impose the motion.

    Consistency style, not an Euler step (report section 3.3; published sampler). The motion
    latents are clean at the first positions before every evaluation and in the result.

    Args:
        velocity_fn: the network with its conditions.
        motion_z: [B, C, M, H, W] clean latents of the motion frames.
        shape: (B, C, F, H, W) of the chunk.
        sigmas: descending noise levels that end in 0 (``schedule.sigmas``).
        noise_fn: draw 0 starts the chunk, draw n follows the n-th evaluation. The last draw is not
            requested, since its factor is zero.

    Returns:
        [B, C, F, H, W] float32 latents.

    Raises:
        InputError: ``sigmas`` are not descending noise levels, or shapes do not fit.
    """
    x = _start(motion_z, shape, sigmas, noise_fn)
    for step, (sigma, following) in enumerate(pairwise(sigmas), start=1):
        x = predict_x0(x, velocity_fn(x, sigma), sigma)
        if following > 0:
            x = renoise(x, noise_fn(step), following)
        x = impose_motion(x, motion_z)
    return x


def sample_euler(
    velocity_fn: VelocityFn,
    motion_z: Tensor,
    shape: Sequence[int],
    sigmas: Sequence[float],
    noise_fn: NoiseFn,
) -> Tensor:
    """Many-step sampling of the teacher: Euler steps along the velocity, motion re-imposed.

    Same arguments, result and errors as ``sample``; only draw 0 of ``noise_fn`` is used.
    """
    x = _start(motion_z, shape, sigmas, noise_fn)
    for sigma, following in pairwise(sigmas):
        v = velocity_fn(x, sigma)
        x = impose_motion(x + (following - sigma) * v.float(), motion_z)
    return x


def predict_x0(x_BCFHW: Tensor, v_BCFHW: Tensor, sigma: float) -> Tensor:
    """Returns the clean latents that the velocity points to, in float32."""
    return x_BCFHW.float() - sigma * v_BCFHW.float()


def renoise(x0_BCFHW: Tensor, noise_BCFHW: Tensor, sigma: float) -> Tensor:
    """The forward process: ``(1 - sigma) * x0 + sigma * eps``."""
    return (1 - sigma) * x0_BCFHW + sigma * noise_BCFHW.float()


def impose_motion(x_BCFHW: Tensor, motion_BCMHW: Tensor) -> Tensor:
    """Returns ``x`` with its first M latent frames replaced by the motion latents."""
    return torch.cat((motion_BCMHW.to(x_BCFHW), x_BCFHW[:, :, motion_BCMHW.shape[2] :]), dim=2)


def timestep(x_BCFHW: Tensor, sigma: float) -> Tensor:
    """Returns the network's timestep: [B] float32 ``1000 * sigma`` on the device of ``x``."""
    return torch.full(
        (x_BCFHW.shape[0],), TRAIN_STEPS * sigma, dtype=torch.float32, device=x_BCFHW.device
    )


def _start(
    motion_z: Tensor, shape: Sequence[int], sigmas: Sequence[float], noise_fn: NoiseFn
) -> Tensor:
    """Checks the arguments; returns the chunk's first noise with its motion latents."""
    if (
        len(sigmas) < 2
        or sigmas[0] > 1
        or sigmas[-1] != 0
        or any(a <= b for a, b in pairwise(sigmas))
    ):
        raise InputError("sigmas", tuple(sigmas), "descending from at most 1 to 0")
    batch, channels, frames, *size = shape
    motion_frames = motion_z.shape[2] if motion_z.ndim == 5 else 0
    if not 0 < motion_frames < frames or motion_z.shape != (batch, channels, motion_frames, *size):
        limit = f"[{batch}, {channels}, 1 .. {frames - 1}, {', '.join(map(str, size))}]"
        raise InputError("motion latents", tuple(motion_z.shape), limit)
    noise = noise_fn(0)
    if noise.shape != tuple(shape):
        raise InputError("noise", tuple(noise.shape), f"{tuple(shape)}")
    return impose_motion(noise.float(), motion_z)
