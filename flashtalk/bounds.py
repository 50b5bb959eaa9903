"""Numbers that have to lie within bounds; what is not a number does not."""

from __future__ import annotations

from flashtalk.errors import InputError

SEED_LIMIT = 2**64
"""Seeds are below it: half of the key that names a session's noise."""


def check_between(
    field: str, value: float | None, least: float, most: float, limit: str = ""
) -> None:
    """Raises InputError for a number outside of [least, most]; none at all is no error.

    Args:
        limit: in other words than ``1 .. 10``.
    """
    if value is not None and not least <= value <= most:
        raise InputError(field, value, limit or f"{least} .. {most}")


def check_above(field: str, value: float | None, most: float, unit: str = "") -> None:
    """Raises InputError for a number outside of (0, most]; none at all is no error."""
    if value is not None and not 0 < value <= most:
        raise InputError(field, value, f"above 0, at most {most}{unit and ' '}{unit}")


def check_seed(seed: int) -> None:
    """Raises InputError for a seed of more than 64 bits, or below 0."""
    check_between("seed", seed, 0, SEED_LIMIT - 1)
