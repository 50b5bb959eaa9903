"""Parses sizes of videos."""

from __future__ import annotations

import re
from collections.abc import Iterable

from flashtalk.errors import InputError
from flashtalk.streaming.spec import PRESET_SPECS, StreamSpec

LARGEST_SIDE_PX = 4_096


def parse_size_hw(
    text: str, field: str = "size", spec: StreamSpec | None = None
) -> tuple[int, int]:
    """Parses ``"720x416"`` (width x height, pixels) as (416, 720).

    Args:
        text: the text.
        field: its name in errors.
        spec: of the models; ``None``: sizes of any preset are accepted.

    Raises:
        InputError: another form, a side beyond ``LARGEST_SIDE_PX``, or one that is not divisible
            by the models' stride.
    """
    match = re.fullmatch(r"\s*([1-9]\d{0,5})[xX]([1-9]\d{0,5})\s*", text)
    if match is None:
        raise InputError(field, text, "WIDTHxHEIGHT in pixels, such as 416x720")
    width, height = int(match[1]), int(match[2])
    if max(width, height) > LARGEST_SIDE_PX:
        raise InputError(field, text, f"at most {LARGEST_SIDE_PX} pixels a side")
    _check_divisible(height, width, PRESET_SPECS.values() if spec is None else (spec,))
    return height, width


def _check_divisible(height: int, width: int, specs: Iterable[StreamSpec]) -> None:
    """Raises InputError if none of the specs has such latents."""
    refused: InputError | None = None
    for spec in specs:
        try:
            spec.latent_size(height, width)
        except InputError as error:
            refused = refused or error
        else:
            return
    if refused is not None:
        raise refused
