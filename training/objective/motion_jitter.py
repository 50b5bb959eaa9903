"""Errors in the motion latents, so that a model learns to correct them.

Late in a stream a chunk continues latents with small errors of earlier chunks. Stage 1 uses only
true motion latents, and Stage 2 those of a few chunks. With a jitter a model gets latents with
errors, while its target is the video without them: it then takes the static parts from the
portrait, which never drifts. Not in the report; off by default.

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
    """The maximum errors; 0 is none. Latents have a spread of about 1.

    Args:
        cell: maximum error of each latent cell, the same on all motion latents, like a wrong
            background; standard deviation.
        channel: maximum error of a channel as a whole: a shift of colours.
    """

    cell: float = 0.0
    channel: float = 0.0

    def __post_init__(self) -> None:
        for field in ("cell", "channel"):
            if not 0 <= getattr(self, field) <= 1:
                raise InputError(f"jitter.{field}", getattr(self, field), "0 to 1")

    def disturb(self, motion_BCMHW: Tensor, draws: SharedDraws) -> Tensor:
        """Returns the latents with errors; a sample's strengths are uniform up to the limits."""
        if not (self.cell or self.channel):
            return motion_BCMHW
        batch, channels, _, height, width = motion_BCMHW.shape
        strength_B2 = draws.uniform((batch, 2)) * torch.tensor([self.cell, self.channel])
        cell, channel = strength_B2[:, :, None, None, None, None].unbind(1)
        error = cell * draws.normal((batch, channels, 1, height, width))
        error = error + channel * draws.normal((batch, channels, 1, 1, 1))
        return motion_BCMHW + error.to(motion_BCMHW)


NO_JITTER = MotionJitter()
