"""Converts pictures to ``flashtalk.v1.RgbImage`` and back.

Legend: H W pixels, C channels (3).
"""

from __future__ import annotations

import numpy as np

from flashtalk.arrays import Rgb
from flashtalk.errors import InputError
from flashtalk.v1 import media_pb2

MAX_SIDE_PX = 8_192


def image_to_proto(rgb_HWC: Rgb) -> media_pb2.RgbImage:
    """Converts uint8 [H, W, 3] to a message. Raises InputError for anything else."""
    if rgb_HWC.ndim != 3 or rgb_HWC.shape[2] != 3 or rgb_HWC.dtype != np.uint8:
        raise InputError("image", list(rgb_HWC.shape), "uint8 [height, width, 3]")
    size = media_pb2.VideoSize(width_px=rgb_HWC.shape[1], height_px=rgb_HWC.shape[0])
    return media_pb2.RgbImage(size=size, rgb=np.ascontiguousarray(rgb_HWC).tobytes())


def image_from_proto(message: media_pb2.RgbImage, field: str) -> Rgb:
    """Converts a message to uint8 [H, W, 3].

    Raises:
        InputError: a size out of bounds, or a wrong number of bytes.
    """
    width, height = message.size.width_px, message.size.height_px
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        raise InputError(f"{field}.size", f"{width}x{height}", f"1 to {MAX_SIDE_PX} pixels a side")
    if len(message.rgb) != width * height * 3:
        limit = f"{width * height * 3} bytes for {width}x{height}"
        raise InputError(f"{field}.rgb", f"{len(message.rgb)} bytes", limit)
    rgb: Rgb = np.frombuffer(message.rgb, np.uint8).reshape(height, width, 3).copy()
    return rgb
