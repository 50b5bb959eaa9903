"""Clips of a rendered split as tensors.

Legend: B batch, T frames, H W pixels, C colours.
"""

from pathlib import Path

import torch
from torch import Tensor

from flashtalk.arrays import Frames
from flashtalk.errors import InputError
from training.data.synthtalk.cache import SynthTalk


def open_split(data_dir: Path, split: str) -> SynthTalk:
    """Opens the rendered split ``data_dir/split``.

    Raises:
        InputError: it does not exist, is unfinished or of another version.
    """
    folder = data_dir / split
    if not (folder / "meta.json").exists():
        raise InputError(
            "--data", folder, "must be a rendered split (see python -m training.data --help)"
        )
    return SynthTalk(folder)


def video_from_frames(frames_THWC: Frames) -> Tensor:
    """uint8 [T, H, W, 3] -> float32 [1, 3, T, H, W] in [-1, 1]."""
    video_CTHW = torch.from_numpy(frames_THWC).permute(3, 0, 1, 2).float().div(127.5).sub(1.0)
    return video_CTHW[None]
