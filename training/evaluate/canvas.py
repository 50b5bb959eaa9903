"""Scales frames of any size to the probes' 64 x 64 pictures, and crops mouths.

Legend: T frames, H W pixels, S side in pixels.  Frame and head coordinates are SynthTalk's
(``training.data.synthtalk.geometry``): x from the middle, y from the layout's top, in layout units.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.arrays import Frames
from flashtalk.errors import InputError
from training.data.synthtalk.geometry import FACE_Y, MOUTH_Y, TURN, Layout

CANVAS_PX = 64
MOUTH_CROP_PX = 32
# Half the side of the crop in head units, and the offset of its centre below the closed lips: the
# jaw opens downwards, so that a wide open mouth stays inside.
MOUTH_CROP_HALF = 0.2
MOUTH_CROP_DROP = 0.035


def to_canvas(video_THWC: Frames) -> Tensor:
    """Returns the unit square of the layout as float32 [T, 3, 64, 64] in [-1, 1], antialiased.

    Raises:
        InputError: not uint8 [T, H, W, 3].
    """
    if video_THWC.dtype != np.uint8 or video_THWC.ndim != 4 or video_THWC.shape[-1] != 3:
        raise InputError("video", f"{video_THWC.dtype} {video_THWC.shape}", "uint8 [T, H, W, 3]")
    height, width = video_THWC.shape[1:3]
    layout = Layout(height, width)
    video_TCHW = (
        torch.from_numpy(np.require(video_THWC, requirements=["C", "W"]))
        .permute(0, 3, 1, 2)
        .float()
    )
    side = round(layout.unit_px)
    left, top = round((width - side) / 2), round(layout.top_px)
    edges = (-left, side - width + left, -top, side - height + top)
    if any(edges):
        # A crop if the frame is larger than the unit square, repeated edges if smaller.
        crop = [min(edge, 0) for edge in edges]
        video_TCHW = F.pad(video_TCHW, crop)
        video_TCHW = F.pad(video_TCHW, [max(edge, 0) for edge in edges], mode="replicate")
    if side != CANVAS_PX:
        video_TCHW = F.interpolate(
            video_TCHW, (CANVAS_PX, CANVAS_PX), mode="bilinear", antialias=True, align_corners=False
        )
    return video_TCHW / 127.5 - 1.0


def mouth_crops(canvas_TCSS: Tensor, pose_T4: Tensor) -> Tensor:
    """Returns upright mouth crops [T, 3, 32, 32] for head poses (x, y, roll, scale) [T, 4].

    The crop rotates and scales with the head, so that only the mouth itself moves in it.
    """
    x_T, y_T, roll_T, scale_T = pose_T4.unbind(1)
    cos_T, sin_T = torch.cos(roll_T) * scale_T, torch.sin(roll_T) * scale_T
    # Features move over the face with the head (TURN), as in the renderer.
    head_x_T = TURN * x_T
    head_y_T = MOUTH_Y + MOUTH_CROP_DROP + TURN * y_T
    middle_x_T = x_T + cos_T * head_x_T - sin_T * head_y_T
    middle_y_T = FACE_Y + y_T + sin_T * head_x_T + cos_T * head_y_T
    # grid_sample expects -1 .. 1 over the unit square: two per unit.
    half = 2.0 * MOUTH_CROP_HALF
    theta_T23 = torch.stack(
        [
            torch.stack([half * cos_T, -half * sin_T, 2.0 * middle_x_T], dim=1),
            torch.stack([half * sin_T, half * cos_T, 2.0 * middle_y_T - 1.0], dim=1),
        ],
        dim=1,
    )
    shape = (len(canvas_TCSS), 3, MOUTH_CROP_PX, MOUTH_CROP_PX)
    grid_TSS2 = F.affine_grid(theta_T23, list(shape), align_corners=False)
    return F.grid_sample(canvas_TCSS, grid_TSS2, padding_mode="border", align_corners=False)
