"""Converts any picture to a format that a gateway accepts: PNG, JPEG or WebP within its limits.

Legend: H W pixels, C channels (3).
"""

from __future__ import annotations

import io
import math
from pathlib import Path

from PIL import Image

from flashtalk.arrays import Rgb
from flashtalk.media.files import existing_file
from flashtalk.media.image import read_image
from flashtalk.media.jpeg_end import START as JPEG_START
from flashtalk.media.notes import Note, quiet
from flashtalk.media.png_chunks import SIGNATURE as PNG_START

# What a gateway accepts unless its settings say otherwise (services/gateway/settings.py).
MAX_PORTRAIT_BYTES = 8 * 2**20
MAX_PORTRAIT_PIXELS = 40_000_000
# A video has less than a quarter of these pixels; the gateway scales the picture down.
_ENOUGH_PIXELS = 4_000_000
_JPEG_QUALITY = 95
_SMALLER = 0.7


def portrait_bytes(
    path: Path | str,
    note: Note = quiet,
    *,
    max_bytes: int = MAX_PORTRAIT_BYTES,
    max_pixels: int = MAX_PORTRAIT_PIXELS,
) -> bytes:
    """Returns a picture file of any format that ``read_image`` supports as bytes to send.

    A file that a gateway accepts is sent unchanged; any other is converted by ``fit_portrait``.

    Args:
        path: the picture file.
        note: called with problems of a usable picture.
        max_bytes, max_pixels: limits of the gateway.

    Raises:
        InputError: as ``read_image``.
    """
    source = existing_file(path, "image")
    rgb_HWC = read_image(source, note)
    if source.stat().st_size <= max_bytes and math.prod(rgb_HWC.shape[:2]) <= max_pixels:
        data = source.read_bytes()
        if data.startswith((PNG_START, JPEG_START)) or data[:4] + data[8:12] == b"RIFFWEBP":
            return data
    return fit_portrait(rgb_HWC, max_bytes=max_bytes, max_pixels=max_pixels)


def fit_portrait(
    rgb_HWC: Rgb,
    *,
    max_bytes: int = MAX_PORTRAIT_BYTES,
    max_pixels: int = MAX_PORTRAIT_PIXELS,
) -> bytes:
    """Encodes pixels as PNG, or as JPEG if that is too large; scales large pictures down.

    Args:
        rgb_HWC: uint8 [H, W, 3].
        max_bytes, max_pixels: limits of the gateway.
    """
    picture = _scaled(Image.fromarray(rgb_HWC), min(max_pixels, _ENOUGH_PIXELS))
    data = _written(picture, "PNG", compress_level=4)
    while len(data) > max_bytes:
        data = _written(picture, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        picture = _scaled(picture, round(math.prod(picture.size) * _SMALLER))
    return data


def _scaled(picture: Image.Image, most_pixels: int) -> Image.Image:
    pixels = math.prod(picture.size)
    if pixels <= most_pixels:
        return picture
    scale = math.sqrt(most_pixels / pixels)
    width, height = (max(math.floor(side * scale), 1) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _written(picture: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
