"""Tokens of pages: where the next one begins."""

from __future__ import annotations

import math

from flashtalk.errors import InputError

Place = tuple[float, str]


def write_place(created_s: float, session_id: str) -> str:
    """The token after a session: by time, then by name."""
    return f"{created_s!r}:{session_id}"


def read_place(token: str) -> Place | None:
    """What a token stands for; None for the empty one. Raises InputError for one that is none."""
    if not token:
        return None
    seconds, colon, name = token.partition(":")
    try:
        created_s = float(seconds)
    except ValueError:
        created_s = math.nan
    if not colon or not math.isfinite(created_s):
        raise InputError("page_token", token[:80], "a token of the page before")
    return created_s, name
