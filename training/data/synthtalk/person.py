"""Colours, measures and pose of one person in tensors for the painters.

Legend: T frames; every pose tensor is ``[T, 1, 1]`` so that it broadcasts over pixels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flashtalk.arrays import FloatArray
from training.data.synthtalk.geometry import HeadPose, head_pose, mouth_half_width
from training.data.synthtalk.identity import IDENTITY_INDEX
from training.data.synthtalk.shapes import Canvas, Window
from training.data.synthtalk.tracks import TRACK_INDEX


@dataclass(frozen=True)
class Person:
    """Constant looks of an identity."""

    identity: FloatArray
    device: torch.device

    def colour(self, part: str) -> Tensor:
        """Returns RGB ``[3]`` of skin, hair, eye, lip or shirt."""
        first = IDENTITY_INDEX[f"{part}_red"]
        return torch.from_numpy(self.identity[first : first + 3].copy()).to(self.device)

    def measure(self, name: str, low: float, high: float) -> float:
        """Returns a [0, 1] column of the identity mapped to ``low .. high``."""
        return low + (high - low) * float(self.identity[IDENTITY_INDEX[name]])

    @property
    def face_half_width(self) -> float:
        return self.measure("face_width", 0.212, 0.25)


class Pose:
    """The moving parameters of a block of frames."""

    def __init__(self, tracks: FloatArray, identity: FloatArray, device: torch.device) -> None:
        self.head: HeadPose = head_pose(tracks)
        self._tracks = tracks
        self._device = device
        self.mouth_half_width = self._tensor(mouth_half_width(tracks, identity))
        self.turn, self.tilt = self._tensor(self.head.turn), self._tensor(self.head.tilt)

    def _tensor(self, values: FloatArray) -> Tensor:
        contiguous = np.ascontiguousarray(values, dtype=np.float32)
        return torch.from_numpy(contiguous).to(self._device).view(-1, 1, 1)

    def column(self, name: str) -> Tensor:
        """Returns a track column as ``[T, 1, 1]``."""
        return self._tensor(self._tracks[:, TRACK_INDEX[name]])

    def values(self, name: str) -> FloatArray:
        """A track column as an array ``[T]``."""
        return self._tracks[:, TRACK_INDEX[name]]


class HeadSpace:
    """Head coordinates of every pixel of a canvas, computed once per block and sliced per part."""

    def __init__(self, canvas: Canvas, pose: Pose) -> None:
        self.canvas = canvas
        self.pose = pose
        head = pose.head
        device = canvas.image_T3HW.device
        cos = torch.from_numpy(np.cos(head.roll) / head.scale).to(device).view(-1, 1, 1)
        sin = torch.from_numpy(np.sin(head.roll) / head.scale).to(device).view(-1, 1, 1)
        x0 = torch.from_numpy(np.ascontiguousarray(head.x)).to(device).view(-1, 1, 1)
        y0 = torch.from_numpy(np.ascontiguousarray(head.y)).to(device).view(-1, 1, 1)
        dx, dy = canvas.x_W.view(1, 1, -1) - x0, canvas.y_H.view(1, -1, 1) - y0
        self.x_THW = cos * dx + sin * dy
        self.y_THW = cos * dy - sin * dx

    def window(self, left: float, right: float, top: float, bottom: float) -> Window:
        """Returns the pixels that a box in head coordinates covers in any frame of the block."""
        corners = [self.pose.head.to_frame(x, y) for x in (left, right) for y in (top, bottom)]
        xs = np.stack([corner[0] for corner in corners])
        ys = np.stack([corner[1] for corner in corners])
        rows, cols = self.canvas.slices(
            float(xs.min()), float(xs.max()), float(ys.min()), float(ys.max())
        )
        return Window(
            self.canvas.image_T3HW[:, :, rows, cols],
            self.x_THW[:, rows, cols],
            self.y_THW[:, rows, cols],
        )
