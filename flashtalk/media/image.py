"""Portraits: any picture that Pillow reads, upright, opaque, RGB, at the size of the video.

Legend: H W pixels, C channels (3).
"""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from flashtalk.errors import InputError
from flashtalk.media.files import existing_file

Rgb = npt.NDArray[np.uint8]

MIN_SIDE_PX = 16
MAX_ASPECT = 10
STRANGERS_FORMATS = ("PNG", "JPEG", "WEBP")
# What lies behind a transparent portrait: the grey that is zero in the network's units.
BACKGROUND = (128, 128, 128)


def read_image(path: Path | str) -> Rgb:
    """A picture file as uint8 [H, W, 3], turned as its EXIF says, alpha laid over mid-grey.

    Of an animation the first frame is taken; 16 bits become 8.

    Raises:
        InputError: no file, not a picture, damaged or cut off, larger than Pillow's limit
            against decompression bombs, a side below 16 pixels, or an aspect beyond 1:10.
    """
    source = existing_file(path, "image")
    return _read(source, source, "image", None, None)


def decode_image(data: bytes, field: str, *, max_pixels: int) -> Rgb:
    """The bytes of a PNG, JPEG or WebP file as uint8 [H, W, 3]; for pictures from strangers.

    Only these decoders see the bytes, and none of them before the size is known to be in bounds.

    Args:
        data: the file.
        field: what errors call it.
        max_pixels: width times height that is accepted.

    Raises:
        InputError: as ``read_image``, or another kind of file.
    """
    value = f"{len(data)} bytes"
    return _read(io.BytesIO(data), value, field, STRANGERS_FORMATS, max_pixels)


def _read(
    source: Path | io.BytesIO,
    value: object,
    field: str,
    formats: tuple[str, ...] | None,
    max_pixels: int | None,
) -> Rgb:
    kinds = ", ".join(formats) if formats else "a picture that Pillow reads"
    try:
        with warnings.catch_warnings():
            # Above the limit Pillow warns, above twice the limit it raises: one limit for us.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=formats) as picture:
                check_size(*picture.size, value, field)
                if max_pixels is not None and math.prod(picture.size) > max_pixels:
                    raise InputError(field, value, f"at most {max_pixels} pixels")
                upright = ImageOps.exif_transpose(picture)
                return np.asarray(opaque(upright))
    except InputError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = f"at most {max_pixels or Image.MAX_IMAGE_PIXELS} pixels"
        raise InputError(field, value, limit) from error
    except UnidentifiedImageError as error:
        raise InputError(field, value, f"not {kinds}") from error
    except Exception as error:
        # Decoders of damaged files raise errors of nearly every type.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(field, value, f"damaged or cut off ({reason})") from error


def check_size(width_px: int, height_px: int, value: object, field: str = "image") -> None:
    """Raises InputError for a picture too small or too long to show a face."""
    small, large = sorted((width_px, height_px))
    if small < MIN_SIDE_PX:
        limit = f"{width_px}x{height_px} pixels, at least {MIN_SIDE_PX} a side are needed"
        raise InputError(field, value, limit)
    if large > MAX_ASPECT * small:
        limit = f"{width_px}x{height_px} pixels, at most 1:{MAX_ASPECT} is accepted"
        raise InputError(field, value, limit)


def opaque(picture: Image.Image) -> Image.Image:
    """Any mode as RGB: 16-bit and float greys scaled to bytes, transparency over mid-grey."""
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _bytes_of_deep_grey(picture)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return picture.convert("RGB")


def cover(rgb_HWC: Rgb, size_hw: tuple[int, int]) -> Rgb:
    """Scale a picture until it covers ``size_hw``, then cut out the centre.

    The published rule (golden ``resize``): one scale for both sides, rounded up, Pillow's
    antialiased bilinear filter on bytes, the offset of the cut rounded half to even.

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


def oriented_size(size_hw: tuple[int, int], rgb_HWC: Rgb) -> tuple[int, int]:
    """A preset's video size, turned on its side if the picture is the other way round."""
    lying, picture_lying = size_hw[1] > size_hw[0], rgb_HWC.shape[1] > rgb_HWC.shape[0]
    return size_hw if lying == picture_lying else (size_hw[1], size_hw[0])


def _bytes_of_deep_grey(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    scale = 255 / 65_535  # integers are 16 bits deep
    if picture.mode == "F":  # floats are in [0, 1] by convention, or plain bytes
        scale = 255.0 if values.max() <= 1 else 1.0
    return Image.fromarray((values * scale).round().clip(0, 255).astype(np.uint8))
