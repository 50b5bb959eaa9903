"""Tokens of pages: where the next one begins."""

from __future__ import annotations

from flashtalk.errors import InputError

Place = tuple[float, str]


def write_place(created_s: float, session_id: str) -> str:
    """The token after a session: by time, then by name."""
    return f"{created_s!r}:{session_id}"


def read_place(token: str) -> Place | None:
    """What a token stands for; None for the empty one. Raises InputError for one that is none."""
    if not token:
        return None
    seconds, _, name = token.partition(":")
    try:
        return float(seconds), name
    except ValueError:
        raise InputError("page_token", token, "a token of the page before") from None
