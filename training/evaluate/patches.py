"""Patches: pixels whose colour no drawing of the person explains.

SynthTalk is rendered, so the possible pictures are known: the renderer draws the person in the pose
that the probes measure in a frame, and the pixels of that drawing around a position define the
possible colours there.  A colour is explained if it is, channel by channel, between the darkest and
the lightest of the drawing within ``reach_px``.  So a small error of the pose and a soft edge, with
the mixed colours of its two sides, are explained: neither motion nor a mild blur counts.  A spot of
skin in the hair, a torn hand, a ghost beside the head, noise and a colour cast do.

The measure is not from a paper; docs/evaluation.md shows what it distinguishes.

Legend: T frames, H W pixels, C 3 colours.
"""

import numpy as np

from flashtalk.arrays import DoubleArray, FloatArray, Frames
from flashtalk.errors import InputError
from training.evaluate.redrawn import Redrawn

# The VAE's own error is mostly below it; larger deviations of a spot are visible.
VISIBLE_LEVELS = 10.0
_REACH_SHARE = 1 / 48


def reach_px(height_px: int) -> int:
    """Returns the radius in pixels for explanations: 2 % of the height, at least a pixel."""
    return max(1, round(_REACH_SHARE * height_px))


def unexplained_levels(video_THWC: Frames, drawn_THWC: Frames) -> FloatArray:
    """How far each pixel [T, H, W] lies outside of what the drawing explains, 0..255.

    Args:
        video_THWC: uint8, the measured video.
        drawn_THWC: uint8, the person drawn in the same poses.

    Returns:
        Root of the mean square over the colours; 0 if the drawing explains the pixel.

    Raises:
        InputError: the two have different shapes.
    """
    if video_THWC.shape != drawn_THWC.shape:
        raise InputError("drawing", drawn_THWC.shape, f"the shape of the video, {video_THWC.shape}")
    reach = reach_px(video_THWC.shape[1])
    lightest_THWC = _furthest(np.maximum, drawn_THWC, reach)
    darkest_THWC = _furthest(np.minimum, drawn_THWC, reach)
    # No difference falls below 0, so bytes suffice; at most one of the two is not 0.
    above_THWC = np.maximum(video_THWC, lightest_THWC) - lightest_THWC
    below_THWC = darkest_THWC - np.minimum(video_THWC, darkest_THWC)
    outside_THWC = (above_THWC | below_THWC).astype(np.float32)
    squared_THW = np.einsum("...c,...c->...", outside_THWC, outside_THWC)
    return np.asarray(np.sqrt(squared_THW / outside_THWC.shape[-1]), np.float32)


def patched_percent(redrawn: Redrawn) -> DoubleArray:
    """Returns the percentage [T] of the body's pixels that are patched: visibly unexplained.

    The outside of the body is static and is measured as background.  NaN without a body.
    """
    if not redrawn.body_HW.any():
        return np.full(len(redrawn.frames_THWC), np.nan)
    levels_THW = unexplained_levels(redrawn.frames_THWC, redrawn.drawn_THWC)
    levels_TN = levels_THW[:, redrawn.body_HW]
    return np.asarray(100.0 * (levels_TN > VISIBLE_LEVELS).mean(axis=1), np.float64)


def _furthest(pick: np.ufunc, frames_THWC: Frames, reach: int) -> Frames:
    """The largest or smallest byte of each square of ``2 reach + 1`` pixels, rows and then columns;
    beyond the edge there is nothing to pick."""
    for axis in (1, 2):
        along = np.moveaxis(frames_THWC, axis, 0)
        found = along.copy()
        for step in range(1, min(reach, len(along) - 1) + 1):
            pick(found[step:], along[:-step], out=found[step:])
            pick(found[:-step], along[step:], out=found[:-step])
        frames_THWC = np.moveaxis(found, 0, axis)
    return frames_THWC
