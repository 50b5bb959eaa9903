"""Sizes of videos as people write them."""

from __future__ import annotations

import re

from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec

LARGEST_SIDE_PX = 4_096


def parse_size_hw(text: str, field: str = "size") -> tuple[int, int]:
    """``"720x416"`` (width x height, pixels) as (416, 720).

    Args:
        text: what was written.
        field: what errors call it.

    Raises:
        InputError: another form, a side beyond ``LARGEST_SIDE_PX`` or one that the models cannot
            divide.
    """
    match = re.fullmatch(r"\s*([1-9]\d{0,5})[xX]([1-9]\d{0,5})\s*", text)
    if match is None:
        raise InputError(field, text, "WIDTHxHEIGHT in pixels, such as 416x720")
    width, height = int(match[1]), int(match[2])
    if max(width, height) > LARGEST_SIDE_PX:
        raise InputError(field, text, f"at most {LARGEST_SIDE_PX} pixels a side")
    StreamSpec().latent_size(height, width)
    return height, width
