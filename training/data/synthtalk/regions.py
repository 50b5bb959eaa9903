"""The position of the mouth and the static pixels, from tracks alone.

Legend: T frames, H W pixels.
"""

import numpy as np
import torch

from flashtalk.arrays import BoolArray, FloatArray, IntArray
from training.data.synthtalk.geometry import (
    APERTURE_DOWN,
    APERTURE_UP,
    LIP_DOWN,
    LIP_UP,
    MOUTH_Y,
    Layout,
    head_pose,
    mouth_half_width,
)
from training.data.synthtalk.person import Person
from training.data.synthtalk.renderer import render_block
from training.data.synthtalk.tracks import TRACK_INDEX

_MARGIN = 0.012
# Colours are at most 1: covering a share of a pixel changes it by at least that share.
_BRIGHTER, _LEAST_CHANGE = 2.0, 2e-4


def mouth_box(tracks: FloatArray, identity: FloatArray, size_hw: tuple[int, int]) -> IntArray:
    """Returns the pixel box of the lips in each frame.

    Args:
        tracks: float32 ``[T, K]``.
        identity: float32 ``[len(IDENTITY_COLUMNS)]``.
        size_hw: frame height and width in pixels.

    Returns:
        int64 ``[T, 4]``: top, left, bottom, right; bottom and right are exclusive, all inside the
        frame.
    """
    layout = Layout(*size_hw)
    pose = head_pose(tracks)
    half = mouth_half_width(tracks, identity) + _MARGIN
    openness = tracks[:, TRACK_INDEX["openness"]]
    top = MOUTH_Y + pose.tilt - APERTURE_UP * openness - 1.35 * LIP_UP - _MARGIN
    bottom = MOUTH_Y + pose.tilt + APERTURE_DOWN * openness + 1.35 * LIP_DOWN + _MARGIN
    ends = (pose.turn - half, pose.turn + half)
    corners = [pose.to_frame(x, y) for x in ends for y in (top, bottom)]
    xs, ys = (np.stack([corner[axis] for corner in corners]) for axis in (0, 1))
    unit = layout.unit_px
    box = np.stack(
        [
            np.floor(ys.min(axis=0) * unit + layout.top_px),
            np.floor(xs.min(axis=0) * unit + 0.5 * layout.width_px),
            np.ceil(ys.max(axis=0) * unit + layout.top_px),
            np.ceil(xs.max(axis=0) * unit + 0.5 * layout.width_px),
        ],
        axis=1,
    )
    limits = np.array([layout.height_px, layout.width_px] * 2)
    return np.asarray(np.clip(box, 0, limits), dtype=np.int64)


@torch.inference_mode()
def background_mask(
    tracks: FloatArray, identity: FloatArray, size_hw: tuple[int, int]
) -> BoolArray:
    """Returns the pixels that no moving part touches in any frame, bool ``[H, W]``.

    Person and hands are painted over a background that is brighter than any colour; a pixel that
    keeps its brightness in every frame is background.
    """
    layout = Layout(*size_hw)
    person = Person(identity, torch.device("cpu"))
    place = torch.full((3, *size_hw), _BRIGHTER)
    untouched = torch.ones(size_hw, dtype=torch.bool)
    block = max(1, 100_000 // (size_hw[0] * size_hw[1]))
    for first in range(0, tracks.shape[0], block):
        part = np.ascontiguousarray(tracks[first : first + block], dtype=np.float32)
        painted = render_block(person, part, place, layout)
        moved = (painted < _BRIGHTER - _LEAST_CHANGE).any(1)
        untouched &= ~moved.any(0)
    return untouched.numpy()
