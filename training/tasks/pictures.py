"""Frames of videos laid out as one picture."""

from collections.abc import Sequence

import torch
from torch import Tensor

from flashtalk.arrays import Rgb


def strip(rows_CTHW: Sequence[Tensor], *, scale: int = 2) -> Rgb:
    """Lays out one row of frames per video; uint8 [H, W, 3], enlarged by whole pixels.

    Args:
        rows_CTHW: videos [3, T, H, W] in [-1, 1]; shorter ones are padded with black.
    """
    widest = max(row.shape[1] for row in rows_CTHW)
    lines = []
    for row in rows_CTHW:
        channels, frames, height, width = row.shape
        full = row.new_full((channels, widest, height, width), -1.0)
        full[:, :frames] = row
        lines.append(full.permute(2, 1, 3, 0).reshape(height, widest * width, channels))
    picture = torch.cat(lines).float().cpu().clamp(-1, 1).add(1).mul(127.5).round().byte()
    pixels: Rgb = picture.numpy()
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)
