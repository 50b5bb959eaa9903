"""Consistency, smoothness and flicker of a video by the formulas of VBench.

Huang et al., "VBench" (2024), section 3.2, and the code published with it (Vchitect/VBench:
``subject_consistency.py``, ``background_consistency.py``, ``motion_smoothness.py``,
``temporal_flickering.py``).  The formulas are exact; their inputs are either the networks of VBench
(``extractors.py``) or the substitutes of this file, distinguished by the columns.

All scores are in 0..1, higher is steadier, and a frozen video gets the best of all: interpret them
together with the dynamic ratio.  The report prints them times 100.

Legend: T frames, H W pixels, C colours, D feature numbers, E even frames.
"""

from collections.abc import Callable

import numpy as np

from flashtalk.arrays import BoolArray, Frames, RealArray, Rgb
from flashtalk.errors import InputError

# Two neighbouring even frames uint8 [H, W, 3] -> the frame between them.
Interpolate = Callable[[Rgb, Rgb], Rgb]


def consistency(features_TD: RealArray) -> float:
    """Subject-C and BG-C: mean over the frames from the second on of the cosine to the first and
    the cosine to the frame before, each not below 0, halved.

    Raises:
        InputError: fewer than two frames.
    """
    if features_TD.ndim != 2 or len(features_TD) < 2:
        raise InputError("features", features_TD.shape, "[frames, numbers], at least 2 frames")
    length_T1 = np.linalg.norm(features_TD, axis=1, keepdims=True)
    unit_TD = np.asarray(features_TD, np.float64) / np.maximum(length_T1, 1e-12)
    to_first_T = (unit_TD[1:] @ unit_TD[0]).clip(min=0)
    to_last_T = (unit_TD[1:] * unit_TD[:-1]).sum(axis=1).clip(min=0)
    return float((to_first_T + to_last_T).mean() / 2)


def temporal_flickering(video_THWC: Frames) -> float:
    """Temporal-F: (255 - mean absolute difference of neighbouring frames) / 255.

    VBench uses it for videos of still scenes only; for a talking person it also counts motion.
    """
    if len(video_THWC) < 2:
        raise InputError("video", len(video_THWC), "at least 2 frames")
    changes = [
        np.abs(video_THWC[k + 1].astype(np.int16) - video_THWC[k]).mean()
        for k in range(len(video_THWC) - 1)
    ]
    return float((255.0 - np.mean(changes)) / 255.0)


def motion_smoothness(video_THWC: Frames, interpolate: Interpolate) -> float:
    """Motion-S: (255 - mean absolute difference between the odd frames and what ``interpolate``
    puts between their even neighbours) / 255.

    VBench interpolates with AMT-S; ``linear`` is the substitute.
    """
    if len(video_THWC) < 3:
        raise InputError("video", len(video_THWC), "at least 3 frames")
    errors = []
    for odd in range(1, len(video_THWC) - 1, 2):
        between_HWC = interpolate(video_THWC[odd - 1], video_THWC[odd + 1])
        difference_HWC = between_HWC.astype(np.int16) - video_THWC[odd]
        errors.append(np.abs(difference_HWC).mean())
    return float((255.0 - np.mean(errors)) / 255.0)


def linear(before_HWC: Rgb, after_HWC: Rgb) -> Rgb:
    """The mean of two frames: what a video that moves evenly and slowly has between them."""
    middle_HWC = (before_HWC.astype(np.uint16) + after_HWC + 1) // 2
    return middle_HWC.astype(np.uint8)


def background_pixels(video_THWC: Frames, background_HW: BoolArray) -> RealArray:
    """Stand-in features [T, D] of BG-C: the background's own pixels.

    They are relative to the mean colour of the first frame's background; else the cosine of any
    two pictures, which are all positive, would be near 1.
    """
    if not background_HW.any():
        raise InputError("background", 0, "at least one pixel")
    pixels_TDC = video_THWC[:, background_HW].astype(np.float32)
    return np.asarray((pixels_TDC - pixels_TDC[0].mean(axis=0)).reshape(len(video_THWC), -1))
