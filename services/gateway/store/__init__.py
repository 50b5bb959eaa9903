"""The session store, and its selection by URL."""

from __future__ import annotations

from flashtalk.errors import InputError
from services.gateway.store.memory import MemoryStore
from services.gateway.store.redis_store import RedisStore
from services.gateway.store.session_store import SessionStore

MEMORY = "memory://"
REDIS = ("redis://", "rediss://", "unix://")


def shown_url(url: str) -> str:
    """Returns a store's URL for messages: without user, password and options."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2].partition('?')[0]}"


def open_store(url: str) -> SessionStore:
    """Returns the store of a URL; it connects at the first call.

    Raises:
        InputError: an unsupported URL.
    """
    if url == MEMORY:
        return MemoryStore()
    if url.startswith(REDIS):
        return RedisStore(url)
    raise InputError(
        "store", shown_url(url), "must start with redis://, rediss://, unix:// or memory://"
    )
