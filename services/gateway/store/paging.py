"""Page tokens: the position of the next page."""

from __future__ import annotations

import math

from flashtalk.errors import InputError

Place = tuple[float, str]


def write_place(created_s: float, session_id: str) -> str:
    """Returns the token after a session: by time, then by name."""
    return f"{created_s!r}:{session_id}"


def read_place(token: str) -> Place | None:
    """Returns the position of a token; None for an empty one. Raises InputError if invalid."""
    if not token:
        return None
    seconds, colon, name = token.partition(":")
    try:
        created_s = float(seconds)
    except ValueError:
        created_s = math.nan
    if not colon or not math.isfinite(created_s):
        raise InputError(
            "page_token", token[:80], "must be the next_page_token of the previous page"
        )
    return created_s, name
