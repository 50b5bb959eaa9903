"""Colours as a picture's own profile means them, in sRGB.

Phones write Display P3, cameras Adobe RGB, print shops CMYK: read as sRGB, faces come out pale.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from flashtalk.media.notes import Note

# The modes whose colours each kind of profile explains; greys are also told in RGB.
_MODES = {"GRAY": ("L",), "RGB": ("RGB", "L"), "CMYK": ("CMYK",), "Lab": ("LAB",)}
_PROBE_STEPS = 6
_MOST_PROFILE_BYTES = 2**25


def to_srgb(picture: Image.Image, profile: bytes | None, note: Note) -> Image.Image:
    """A picture as RGB, in sRGB.

    Args:
        picture: of mode L, RGB, CMYK or LAB.
        profile: ICC, or None if it has none.
        note: is told of a profile that cannot be used.
    """
    if profile:
        try:
            return _explained(picture, profile)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            note(f"its colour profile is left out ({reason})")
    if picture.mode == "LAB":
        return _converted(picture, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    return picture.convert("RGB")


def _explained(picture: Image.Image, profile: bytes) -> Image.Image:
    if len(profile) > _MOST_PROFILE_BYTES:
        raise ValueError("too large")
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = own.profile.xcolor_space.strip()
    if picture.mode not in _MODES.get(space, ()):
        raise ValueError(f"it explains {space}, the picture is {picture.mode}")
    if space == "RGB":
        picture = picture.convert("RGB")
        if _changes_nothing(own):
            return picture
    return _converted(picture, own)


def _converted(picture: Image.Image, own: ImageCms.ImageCmsProfile) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(own, srgb, picture.mode, "RGB")
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None  # it is, unless it is asked to work in place
    return converted


def _changes_nothing(own: ImageCms.ImageCmsProfile) -> bool:
    """Whether it is sRGB, however it is written: the bytes of such a picture stay as they are."""
    steps = np.linspace(0, 255, _PROBE_STEPS).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(_PROBE_STEPS, -1, 3)
    found = np.asarray(_converted(Image.fromarray(cube), own))
    return bool(np.abs(found.astype(int) - cube).max() <= 1)
