"""Where sessions are kept, and which store a URL means."""

from __future__ import annotations

from flashtalk.errors import InputError
from services.gateway.store.session_store import SessionStore
from services.gateway.store.memory import MemoryStore

MEMORY = "memory://"


def open_store(url: str) -> SessionStore:
    """The store that a URL means; connections are made at the first call.

    Raises:
        InputError: another kind of URL.
    """
    if url == MEMORY:
        return MemoryStore()
    raise InputError("store", url, "memory://")
