"""Positions in the picture: the layout of a frame size and the pose of the moving parts.

Legend: T frames. Frame coordinates: x to the right with 0 in the middle of the picture, y downwards
with 0 at the layout's top; one unit = ``Layout.unit_px`` pixels. Head coordinates: the same axes
turned, scaled and moved with the head, origin in the middle of the face.
"""

from dataclasses import dataclass

import numpy as np

from flashtalk.arrays import FloatArray, RealArray
from flashtalk.errors import InputError
from training.data.synthtalk.identity import IDENTITY_INDEX
from training.data.synthtalk.tracks import TRACK_INDEX

FACE_Y = 0.45
FACE_HALF_HEIGHT = 0.295
MOUTH_Y = 0.142
APERTURE_UP, APERTURE_DOWN = 0.034, 0.092
LIP_UP, LIP_DOWN = 0.027, 0.034
# Features move over the face with sideways motion of the head: a simple impression of turning.
TURN = 0.45
SMALLEST_SIDE_PX = 16


@dataclass(frozen=True)
class Layout:
    """Maps frame coordinates to the pixels of one frame size ``(height, width)``."""

    height_px: int
    width_px: int

    def __post_init__(self) -> None:
        if min(self.height_px, self.width_px) < SMALLEST_SIDE_PX:
            size = (self.height_px, self.width_px)
            raise InputError("size_hw", size, f"both sides must be at least {SMALLEST_SIDE_PX} px")

    @property
    def unit_px(self) -> float:
        """Returns pixels per unit: the height, less in a frame too narrow for the shoulders."""
        return min(float(self.height_px), 1.25 * self.width_px)

    @property
    def top_px(self) -> float:
        """Returns the row of y = 0; a tall frame has space above the hair."""
        return 0.3 * (self.height_px - self.unit_px)

    @property
    def half_width(self) -> float:
        return 0.5 * self.width_px / self.unit_px

    @property
    def bottom(self) -> float:
        return (self.height_px - self.top_px) / self.unit_px


@dataclass(frozen=True)
class HeadPose:
    """Place, turn and size of the head, each float32 ``[T]``; ``turn`` moves the features."""

    x: FloatArray
    y: FloatArray
    roll: FloatArray
    scale: FloatArray
    turn: FloatArray
    tilt: FloatArray

    def to_frame(self, x: RealArray | float, y: RealArray | float) -> tuple[RealArray, RealArray]:
        """Head coordinates to frame coordinates, ``[T]`` each."""
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        return (
            self.x + self.scale * (cos * x - sin * y),
            self.y + self.scale * (sin * x + cos * y),
        )


def head_pose(tracks: FloatArray) -> HeadPose:
    """The head pose of tracks ``[T, K]``."""
    x, y = tracks[:, TRACK_INDEX["head_x"]], tracks[:, TRACK_INDEX["head_y"]]
    return HeadPose(
        x=x,
        y=FACE_Y + y,
        roll=tracks[:, TRACK_INDEX["head_roll"]],
        scale=tracks[:, TRACK_INDEX["head_scale"]],
        turn=TURN * x,
        tilt=TURN * y,
    )


def mouth_half_width(tracks: FloatArray, identity: FloatArray) -> FloatArray:
    """Half the width of the lips in head coordinates, float32 ``[T]``."""
    size = 0.118 + 0.016 * float(identity[IDENTITY_INDEX["mouth_size"]])
    spread = 0.78 + 0.44 * tracks[:, TRACK_INDEX["width"]]
    pucker = 1.0 - 0.34 * tracks[:, TRACK_INDEX["rounding"]]
    return np.asarray(size * spread * pucker, dtype=np.float32)


def hand_rest(layout: Layout) -> tuple[float, float]:
    """Returns the rest position ``(|x|, y)`` of the hands: the bottom corners of the frame."""
    return min(layout.half_width - 0.085, 0.46), layout.bottom - 0.1
