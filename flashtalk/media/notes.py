"""Notes about problems of a usable file, one line each."""

from __future__ import annotations

from collections.abc import Callable

Note = Callable[[str], None]


def quiet(line: str) -> None:
    """Ignores the note."""


def about(field: str, value: object, note: Note) -> Note:
    """Returns a note function that adds field and value in front, as in an ``InputError``."""
    if note is quiet:
        return quiet
    return lambda line: note(f"{field}: {value}: {line}")
