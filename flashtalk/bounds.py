"""Range checks of numbers; NaN is out of range."""

from __future__ import annotations

from flashtalk.errors import InputError

SEED_LIMIT = 2**64
"""Exclusive upper limit of seeds, which are half of the key of a session's noise."""


def check_between(
    field: str, value: float | None, least: float, most: float, limit: str = ""
) -> None:
    """Raises InputError for a number outside of [least, most]; None is accepted.

    Args:
        limit: text of the limit, instead of ``1 .. 10``.
    """
    if value is not None and not least <= value <= most:
        raise InputError(field, value, limit or f"{least} .. {most}")


def check_above(field: str, value: float | None, most: float, unit: str = "") -> None:
    """Raises InputError for a number outside of (0, most]; None is accepted."""
    if value is not None and not 0 < value <= most:
        raise InputError(field, value, f"above 0, at most {most}{unit and ' '}{unit}")


def check_seed(seed: int) -> None:
    """Raises InputError for a seed below 0 or of more than 64 bits."""
    check_between("seed", seed, 0, SEED_LIMIT - 1)
