"""Reads portraits: any picture that Pillow reads, upright, opaque, in sRGB, at the video size.

Legend: H W pixels, C channels (3).
"""

from __future__ import annotations

import contextlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from flashtalk.arrays import Rgb
from flashtalk.errors import InputError
from flashtalk.media.color import to_srgb
from flashtalk.media.files import existing_file
from flashtalk.media.jpeg_end import START as JPEG_START
from flashtalk.media.jpeg_end import JpegEnd
from flashtalk.media.notes import Note, about, quiet
from flashtalk.media.picture_kinds import HEAD_BYTES, foreign_kind
from flashtalk.media.pillow_warnings import no_warnings
from flashtalk.media.png_chunks import SIGNATURE as PNG_START
from flashtalk.media.png_chunks import plain_png

MIN_SIDE_PX = 16
MAX_ASPECT = 10
STRANGERS_FORMATS = ("PNG", "JPEG", "WEBP")
# The background of a transparent portrait: the grey that is zero in the network's units.
BACKGROUND = (128, 128, 128)
# The accepted error of a truncated picture, as a mean of all levels.
_MISSING_LEVELS = 1.0
# Crop around a face: its side in widths of the face, the share above the centre, pixels.
_FACE_WIDTHS, _ABOVE, _FACE_SIDE_PX = 2.0, 0.55, 512


def read_image(path: Path | str, note: Note = quiet) -> Rgb:
    """Reads a picture file as uint8 [H, W, 3], rotated by its EXIF, composited over mid-grey.

    Only the first frame of an animation is used; 16 bits become 8; colours become sRGB.

    Args:
        path: the picture file.
        note: called with problems of a usable picture.

    Raises:
        InputError: no file, not a picture, damaged or truncated, larger than Pillow's limit
            against decompression bombs, a side below 16 pixels, or an aspect beyond 1:10.
    """
    source = existing_file(path, "image")
    try:
        with source.open("rb") as file:
            return _read(file, source, "image", None, None, about("image", source, note))
    except OSError as error:
        raise InputError("image", source, f"not readable ({error.strerror})") from error


def decode_image(data: bytes, field: str, *, max_pixels: int) -> Rgb:
    """Decodes a PNG, JPEG or WebP file to uint8 [H, W, 3]; for untrusted pictures.

    Only these decoders are used, and only after the size is known to be within bounds.

    Args:
        data: content of the file.
        field: name in errors.
        max_pixels: maximum of width times height.

    Raises:
        InputError: as ``read_image``, or another format.
    """
    value = f"{len(data)} bytes"
    return _read(io.BytesIO(data), value, field, STRANGERS_FORMATS, max_pixels, quiet)


def _read(
    file: BinaryIO,
    value: object,
    field: str,
    formats: tuple[str, ...] | None,
    max_pixels: int | None,
    note: Note,
) -> Rgb:
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if kind := foreign_kind(head, avif=formats is not None or bool(features.check("avif"))):
        raise InputError(field, value, kind)
    most = min(limit for limit in (max_pixels, Image.MAX_IMAGE_PIXELS, 2**62) if limit)
    reader = _Reader(value, field, formats, most, note)
    kinds = ", ".join(formats) if formats else "a picture in a supported format"
    try:
        with no_warnings():
            return reader.read(file, head)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(field, value, f"at most {most} pixels") from error
    except UnidentifiedImageError as error:
        raise InputError(field, value, f"not {kinds}") from error
    except Exception as error:
        # Decoders raise errors of nearly every type for damaged files.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(field, value, f"damaged or truncated ({reason})") from error


@dataclass(frozen=True)
class _Reader:
    """Settings for reading one picture: its name in errors, and limits."""

    value: object
    field: str
    formats: tuple[str, ...] | None
    max_pixels: int
    note: Note

    def read(self, file: BinaryIO, head: bytes) -> Rgb:
        """Returns the pixels; raises Pillow's errors."""
        if head.startswith(PNG_START):
            png = plain_png(file.read())
            return self._decoded(io.BytesIO(png.data), png.profile)
        if head.startswith(JPEG_START):
            return self._jpeg(file.read())
        return self._decoded(file)

    def _jpeg(self, data: bytes) -> Rgb:
        end = JpegEnd(data)
        rgb_HWC = self._decoded(io.BytesIO(end.complete()))
        if end.found:
            return rgb_HWC
        if not end.has_all_scans():
            raise ValueError("the last part is missing")
        other_HWC = self._decoded(io.BytesIO(end.filled()))
        missing = np.abs(np.subtract(rgb_HWC, other_HWC, dtype=np.int16)).mean()
        if missing > _MISSING_LEVELS:
            raise ValueError("the lower part is missing")
        self.note("the end of the file is missing; the picture is complete")
        return rgb_HWC

    def _decoded(self, file: BinaryIO, profile: bytes | None = None) -> Rgb:
        with Image.open(file, formats=self.formats) as picture:
            check_size(*picture.size, self.value, self.field)
            if math.prod(picture.size) > self.max_pixels:
                raise InputError(self.field, self.value, f"at most {self.max_pixels} pixels")
            picture.load()
            upright: Image.Image = picture
            # EXIF may contain anything; invalid EXIF does not reject a picture.
            with contextlib.suppress(Exception):
                upright = ImageOps.exif_transpose(picture)
            profile = profile or picture.info.get("icc_profile")
            return np.asarray(opaque(upright, profile, self.note))


def check_size(width_px: int, height_px: int, value: object, field: str = "image") -> None:
    """Raises InputError for a picture too small or too narrow to show a face."""
    small, large = sorted((width_px, height_px))
    if small < MIN_SIDE_PX:
        limit = f"{width_px}x{height_px} pixels; each side must be at least {MIN_SIDE_PX}"
        raise InputError(field, value, limit)
    if large > MAX_ASPECT * small:
        limit = f"{width_px}x{height_px} pixels; the aspect ratio must be at most 1:{MAX_ASPECT}"
        raise InputError(field, value, limit)


def opaque(picture: Image.Image, profile: bytes | None = None, note: Note = quiet) -> Image.Image:
    """Converts any mode to RGB: deep greys to bytes, colours to sRGB, alpha over mid-grey.

    Args:
        picture: the picture, of any mode.
        profile: its ICC profile, or None.
        note: called if the profile is unusable.
    """
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _bytes_of_deep_grey(picture)
    if picture.mode in ("RGBa", "La"):
        picture = picture.convert(picture.mode.upper())
    alpha: Image.Image | None = None
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        alpha = picture.convert("RGBA").getchannel("A")
    if picture.mode not in ("L", "RGB", "CMYK", "LAB"):
        picture = picture.convert("L" if picture.mode in ("1", "LA") else "RGB")
    rgb = to_srgb(picture, profile, note)
    if alpha is None:
        return rgb
    rgb.putalpha(alpha)
    ground = Image.new("RGBA", rgb.size, (*BACKGROUND, 255))
    return Image.alpha_composite(ground, rgb).convert("RGB")


def cover(rgb_HWC: Rgb, size_hw: tuple[int, int]) -> Rgb:
    """Scales a picture until it covers ``size_hw``, then crops the centre.

    The published rule (golden ``resize``): one scale for both sides, rounded up, Pillow's
    antialiased bilinear filter on bytes, the offset of the crop rounded half to even.

    Args:
        rgb_HWC: uint8 [H, W, 3].
        size_hw: height and width in pixels.

    Returns:
        uint8 [height, width, 3].
    """
    (high, wide), (height, width) = rgb_HWC.shape[:2], size_hw
    scale = max(height / high, width / wide)
    scaled_hw = (math.ceil(scale * high), math.ceil(scale * wide))
    picture = Image.fromarray(rgb_HWC).resize(scaled_hw[::-1], Image.Resampling.BILINEAR)
    top = round((scaled_hw[0] - height) / 2)
    left = round((scaled_hw[1] - width) / 2)
    return np.array(picture)[top : top + height, left : left + width]


Box = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of a picture's width and height, 0 to 1."""


def read_box(text: str) -> Box:
    """Parses ``0.4,0.3,0.6,0.6``. Raises InputError for anything but four numbers."""
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError as error:
        raise InputError("face", text, "LEFT,TOP,RIGHT,BOTTOM, shares from 0 to 1") from error
    return left, top, right, bottom


def around_face(rgb_HWC: Rgb, face: Box, side_px: int = _FACE_SIDE_PX) -> Rgb:
    """Crops a square around a face, for presets that know heads and shoulders.

    The published rule (golden ``flashhead/image``): twice the face's width, 55 % of it above the
    centre of the face; edges are clamped to the picture and truncated to whole pixels; the crop is
    resized (bicubic) to a square, which stretches one that is not square after clamping.

    Args:
        rgb_HWC: uint8 [H, W, 3].
        face: box of the face.
        side_px: side S of the result.

    Returns:
        uint8 [S, S, 3].

    Raises:
        InputError: a box outside of the picture, or without an area.
    """
    left, top, right, bottom = face
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise InputError("face", list(face), "left < right and top < bottom, shares from 0 to 1")
    high, wide = rgb_HWC.shape[:2]
    side = _FACE_WIDTHS * (right - left) * wide
    x, y = (left + right) / 2 * wide, (top + bottom) / 2 * high
    first_x, last_x = int(max(0, x - side / 2)), int(min(wide, x + side / 2))
    first_y, last_y = int(max(0, y - _ABOVE * side)), int(min(high, y + (1 - _ABOVE) * side))
    crop = rgb_HWC[first_y:last_y, first_x:last_x]
    if not crop.size:
        raise InputError("face", list(face), "larger than a pixel")
    picture = Image.fromarray(np.ascontiguousarray(crop))
    return np.array(picture.resize((side_px, side_px), Image.Resampling.BICUBIC))


def oriented_size(size_hw: tuple[int, int], rgb_HWC: Rgb) -> tuple[int, int]:
    """Returns a preset's video size, with sides swapped if the picture's orientation differs."""
    lying, picture_lying = size_hw[1] > size_hw[0], rgb_HWC.shape[1] > rgb_HWC.shape[0]
    return size_hw if lying == picture_lying else (size_hw[1], size_hw[0])


def _bytes_of_deep_grey(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinite pixels")
    scale = 255 / 65_535  # integers have 16 bits
    if picture.mode == "F":  # floats are in [0, 1] by convention, or in the range of bytes
        scale = 255.0 if values.max() <= 1 else 1.0
    return Image.fromarray((values * scale).round().clip(0, 255).astype(np.uint8))
