"""Converts colours from a picture's own profile to sRGB.

Phones write Display P3, cameras Adobe RGB, print shops CMYK; interpreted as sRGB, faces look pale.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from flashtalk.media.notes import Note

# The picture modes of each profile type; RGB profiles also apply to greys.
_MODES = {"GRAY": ("L",), "RGB": ("RGB", "L"), "CMYK": ("CMYK",), "Lab": ("LAB",)}
_PROBE_STEPS = 6
_MOST_PROFILE_BYTES = 2**25


def to_srgb(picture: Image.Image, profile: bytes | None, note: Note) -> Image.Image:
    """Converts a picture to RGB in sRGB.

    Args:
        picture: mode L, RGB, CMYK or LAB.
        profile: its ICC profile, or None.
        note: called if the profile is unusable.
    """
    if profile:
        try:
            return _explained(picture, profile)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            note(f"ignoring the colour profile ({reason})")
    if picture.mode == "LAB":
        return _converted(picture, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    return picture.convert("RGB")


def _explained(picture: Image.Image, profile: bytes) -> Image.Image:
    if len(profile) > _MOST_PROFILE_BYTES:
        raise ValueError("too large")
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = own.profile.xcolor_space.strip()
    if picture.mode not in _MODES.get(space, ()):
        raise ValueError(f"profile for {space}, picture in {picture.mode}")
    if space == "RGB":
        picture = picture.convert("RGB")
        if _changes_nothing(own):
            return picture
    return _converted(picture, own)


def _converted(picture: Image.Image, own: ImageCms.ImageCmsProfile) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(own, srgb, picture.mode, "RGB")
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None  # None only for conversion in place
    return converted


def _changes_nothing(own: ImageCms.ImageCmsProfile) -> bool:
    """Whether a profile is equivalent to sRGB; such pictures keep their bytes."""
    steps = np.linspace(0, 255, _PROBE_STEPS).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(_PROBE_STEPS, -1, 3)
    found = np.asarray(_converted(Image.fromarray(cube), own))
    return bool(np.abs(found.astype(int) - cube).max() <= 1)
