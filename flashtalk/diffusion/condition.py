"""The conditioning input: the portrait as a masked video.

Legend: B batch, C channels, T video frames, F latent frames, H W size in pixels or latents.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.models.dit.config import MASK_CHANNELS


def reference_clip(portrait_BCHW: Tensor, frames: int) -> Tensor:
    """Returns the conditioning video: the portrait, followed by mid-grey frames.

    The grey is 0 after normalisation to [-1, 1], not black.

    Args:
        portrait_BCHW: [B, 3, H, W] in [-1, 1].
        frames: T of the chunk.

    Returns:
        [B, 3, T, H, W].
    """
    if portrait_BCHW.ndim != 4:
        raise InputError("portrait", tuple(portrait_BCHW.shape), "[B, 3, H, W]")
    first = portrait_BCHW.unsqueeze(2)
    grey = torch.zeros_like(first).expand(-1, -1, frames - 1, -1, -1)
    return torch.cat((first, grey), dim=2)


def still_clip(portrait_BCHW: Tensor, frames: int) -> Tensor:
    """Returns the conditioning video of a network without a mask: the portrait in every frame.

    Arguments and result as ``reference_clip``.
    """
    if portrait_BCHW.ndim != 4:
        raise InputError("portrait", tuple(portrait_BCHW.shape), "[B, 3, H, W]")
    return portrait_BCHW.unsqueeze(2).expand(-1, -1, frames, -1, -1)


def reference_condition(z_BCFHW: Tensor) -> Tensor:
    """Concatenates mask and conditioning latents on channels, the second input of the network.

    The mask's four channels are the four video frames of a latent frame (the single first frame
    counts four times): 1 for the reference, which is latent frame 0, else 0. It does not mark the
    motion latents.

    Args:
        z_BCFHW: [B, 16, F, H, W] normalised latents of ``reference_clip``.

    Returns:
        [B, 20, F, H, W], mask first.
    """
    if z_BCFHW.ndim != 5:
        raise InputError("reference latents", tuple(z_BCFHW.shape), "[B, C, F, H, W]")
    batch, _, frames, height, width = z_BCFHW.shape
    mask = z_BCFHW.new_zeros(batch, MASK_CHANNELS, frames, height, width)
    mask[:, :, 0] = 1
    return torch.cat((mask, z_BCFHW), dim=1)
