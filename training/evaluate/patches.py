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
from numpy.typing import NDArray

from flashtalk.arrays import Frames
from flashtalk.errors import InputError
from training.evaluate.redrawn import Redrawn

# The VAE's own error mostly stays below it; a spot that is this far off can be seen.
VISIBLE_LEVELS = 10.0
_REACH_SHARE = 1 / 48


def reach_px(height_px: int) -> int:
    """How far around a pixel its explanation may lie: 2 % of the height, at least a pixel."""
    return max(1, round(_REACH_SHARE * height_px))


def unexplained_levels(video_THWC: Frames, drawn_THWC: Frames) -> NDArray[np.float32]:
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
    lightest_THWC = _furthest(np.maximum, drawn_THWC, reach)
    darkest_THWC = _furthest(np.minimum, drawn_THWC, reach)
    # No difference falls below 0, so bytes suffice; at most one of the two is not 0.
    above_THWC = np.maximum(video_THWC, lightest_THWC) - lightest_THWC
    below_THWC = darkest_THWC - np.minimum(video_THWC, darkest_THWC)
    outside_THWC = (above_THWC | below_THWC).astype(np.float32)
    squared_THW = np.einsum("...c,...c->...", outside_THWC, outside_THWC)
    return np.asarray(np.sqrt(squared_THW / outside_THWC.shape[-1]), np.float32)


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
