"""Renders frames from an identity and tracks: analytic shapes, any size, CPU or GPU.

Legend: T frames, K track columns, H W pixels.
"""

import numpy as np
import torch
from torch import Tensor

from flashtalk.arrays import FloatArray, Frames
from flashtalk.errors import InputError
from training.data.synthtalk.body import paint_back_hair, paint_hands, paint_torso
from training.data.synthtalk.face import paint_eyes, paint_front_hair, paint_skin
from training.data.synthtalk.geometry import Layout
from training.data.synthtalk.identity import IDENTITY_COLUMNS
from training.data.synthtalk.mouth import paint_mouth
from training.data.synthtalk.person import HeadSpace, Person, Pose
from training.data.synthtalk.scenery import render_scenery
from training.data.synthtalk.shapes import Canvas
from training.data.synthtalk.tracks import TRACK_COLUMNS

# Increase this number with every change of the rendering: it is part of every cache digest.
RENDERER_VERSION = 1
_BLOCK_PIXELS = 100_000


def _check(identity: FloatArray, tracks: FloatArray) -> None:
    if identity.shape != (len(IDENTITY_COLUMNS),):
        raise InputError("identity", identity.shape, f"one vector of {len(IDENTITY_COLUMNS)}")
    if tracks.ndim != 2 or tracks.shape[1] != len(TRACK_COLUMNS):
        raise InputError("tracks", tracks.shape, f"[frames, {len(TRACK_COLUMNS)}]")


def render_block(person: Person, tracks: FloatArray, scenery_3HW: Tensor, layout: Layout) -> Tensor:
    """Renders a few frames together, float32 ``[T, 3, H, W]`` in [0, 1]."""
    image = scenery_3HW.expand(tracks.shape[0], -1, -1, -1).clone()
    canvas = Canvas(image, layout)
    pose = Pose(tracks, person.identity, person.device)
    space = HeadSpace(canvas, pose)
    paint_back_hair(space, person)
    paint_torso(canvas, person, pose)
    paint_skin(space, person)
    paint_front_hair(space, person)
    paint_eyes(space, person)
    paint_mouth(space, person)
    paint_hands(canvas, person, pose)
    return image


@torch.inference_mode()
def render(
    identity: FloatArray,
    tracks: FloatArray,
    size_hw: tuple[int, int],
    device: torch.device | str = "cpu",
) -> Frames:
    """Renders tracks as video.

    Args:
        identity: float32 ``[len(IDENTITY_COLUMNS)]``.
        tracks: float32 ``[T, len(TRACK_COLUMNS)]``, one row per frame.
        size_hw: height and width in pixels, each at least 16.
        device: compute device; the pixels are returned on the CPU.

    Returns:
        uint8 ``[T, H, W, 3]`` RGB.

    Raises:
        InputError: a shape or size that cannot be rendered.
    """
    _check(identity, tracks)
    layout = Layout(*size_hw)
    person = Person(identity, torch.device(device))
    scenery = render_scenery(identity, layout, person.device)
    frames = np.empty((tracks.shape[0], *size_hw, 3), dtype=np.uint8)
    block = max(1, _BLOCK_PIXELS // (size_hw[0] * size_hw[1]))
    for first in range(0, tracks.shape[0], block):
        part = np.ascontiguousarray(tracks[first : first + block], dtype=np.float32)
        image = render_block(person, part, scenery, layout)
        pixels = image.clamp_(0.0, 1.0).mul_(255.0).add_(0.5).to(torch.uint8)
        frames[first : first + block] = pixels.permute(0, 2, 3, 1).cpu().numpy()
    return frames
