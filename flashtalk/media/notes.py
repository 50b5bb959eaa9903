"""What a person should know about a file that can be used nevertheless, one line each."""

from __future__ import annotations

from collections.abc import Callable

Note = Callable[[str], None]


def quiet(line: str) -> None:
    """Tells nobody."""


def about(field: str, value: object, note: Note) -> Note:
    """The same, with field and value in front as in an ``InputError``."""
    if note is quiet:
        return quiet
    return lambda line: note(f"{field}: {value}: {line}")
