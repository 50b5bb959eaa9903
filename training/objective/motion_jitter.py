"""Errors in what a chunk continues, so that a model learns to put them right.

A chunk far down a stream continues latents that are a little off: what earlier chunks got wrong.
Stage 1 sees true motion latents only, and Stage 2 those of a few chunks. With a jitter a model is
handed latents that are off, while its target is the video without: what stands still it then takes
from the portrait, which never drifts. Not in the report; off by default.

Legend: B batch, C latent channels, M motion latents, h w latent size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flashtalk.errors import InputError
from training.core.draws import SharedDraws


@dataclass(frozen=True)
class MotionJitter:
    """How large the errors get; 0 is none. Latents have a spread of about 1.

    Args:
        cell: most that is added to each latent cell, the same on all motion latents, as a
            background that was drawn wrong stands; standard deviation.
        channel: most that is added to a channel as a whole: a shift of colours.
    """

    cell: float = 0.0
    channel: float = 0.0

    def __post_init__(self) -> None:
        for field in ("cell", "channel"):
            if not 0 <= getattr(self, field) <= 1:
                raise InputError(f"jitter.{field}", getattr(self, field), "0 to 1")

    def disturb(self, motion_BCMHW: Tensor, draws: SharedDraws) -> Tensor:
        """The latents with errors; each sample's strengths are uniform from 0 to the limits."""
        if not (self.cell or self.channel):
            return motion_BCMHW
        batch, channels, _, height, width = motion_BCMHW.shape
        strength_B2 = draws.uniform((batch, 2)) * torch.tensor([self.cell, self.channel])
        cell, channel = strength_B2[:, :, None, None, None, None].unbind(1)
        error = cell * draws.normal((batch, channels, 1, height, width))
        error = error + channel * draws.normal((batch, channels, 1, 1, 1))
        return motion_BCMHW + error.to(motion_BCMHW)


NO_JITTER = MotionJitter()
