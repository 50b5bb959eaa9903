"""Patches: pixels whose colour no drawing of the person could have there.

SynthTalk is drawn, so what a picture may look like is known: the renderer draws the person in the
pose that the probes read from a frame, and around every pixel of that drawing lie the colours that
the frame may have there.  A colour is explained when it lies, channel by channel, between the
darkest and the lightest that the drawing has within ``reach_px``.  So a pose that was read a little
wrong and a soft edge, which mixes the colours of its two sides, leave nothing over: neither
movement nor a mild blur counts.  A spot of skin in the hair, a hand that is torn, a ghost beside
the head, noise and a cast of colour do.

The measure belongs to no paper; docs/evaluation.md shows what it tells apart.

Legend: T frames, H W pixels, C 3 colours.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from flashtalk.errors import InputError
from training.evaluate.fidelity import Video
from training.evaluate.redrawn import Redrawn

# A change of what is measured must change this number: kept readings depend on it.
PATCHES_VERSION = 1
# Eyes do not see much less, and rounding, shading and the VAE's own error stay below it.
VISIBLE_LEVELS = 10.0
_REACH_SHARE = 1 / 48
_BLOCK = 64


def reach_px(height_px: int) -> int:
    """How far around a pixel its explanation may lie: 2 % of the height, at least a pixel."""
    return max(1, round(_REACH_SHARE * height_px))


@torch.inference_mode()
def unexplained_levels(video_THWC: Video, drawn_THWC: Video) -> NDArray[np.float32]:
    """How far each pixel [T, H, W] lies outside of what the drawing explains, 0..255.

    Args:
        video_THWC: uint8, what is judged.
        drawn_THWC: uint8, the person drawn in the same poses.

    Returns:
        Root of the mean square over the colours; 0 where the drawing explains the pixel.

    Raises:
        InputError: the two have different shapes.
    """
    if video_THWC.shape != drawn_THWC.shape:
        raise InputError("drawing", drawn_THWC.shape, f"the shape of the video, {video_THWC.shape}")
    reach = reach_px(video_THWC.shape[1])
    parts = [
        _outside(_colours_first(video_THWC[first : first + _BLOCK]),
                 _colours_first(drawn_THWC[first : first + _BLOCK]), reach)
        for first in range(0, len(video_THWC), _BLOCK)
    ]  # fmt: skip
    if not parts:
        return np.zeros(video_THWC.shape[:3], np.float32)
    return torch.cat(parts).numpy()


def patched_percent(redrawn: Redrawn) -> NDArray[np.float64]:
    """Percentage [T] of the body's pixels that are patched: visibly unexplained.

    What lies outside of the body stands still and is measured as background.  NaN where there is
    no body.
    """
    if not redrawn.body_HW.any():
        return np.full(len(redrawn.frames_THWC), np.nan)
    levels_THW = unexplained_levels(redrawn.frames_THWC, redrawn.drawn_THWC)
    levels_TN = levels_THW[:, redrawn.body_HW]
    return np.asarray(100.0 * (levels_TN > VISIBLE_LEVELS).mean(axis=1), np.float64)


def _outside(video_TCHW: Tensor, drawn_TCHW: Tensor, reach: int) -> Tensor:
    side = 2 * reach + 1
    lightest_TCHW = F.max_pool2d(drawn_TCHW, side, stride=1, padding=reach)
    darkest_TCHW = -F.max_pool2d(-drawn_TCHW, side, stride=1, padding=reach)
    outside_TCHW = (video_TCHW - lightest_TCHW).clamp(min=0) + (darkest_TCHW - video_TCHW).clamp(
        min=0
    )
    return outside_TCHW.square().mean(dim=1).sqrt()


def _colours_first(video_THWC: Video) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(video_THWC)).permute(0, 3, 1, 2).float()
