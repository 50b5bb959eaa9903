"""Where sessions are kept, and which store a URL means."""

from __future__ import annotations

from flashtalk.errors import InputError
from services.gateway.store.memory import MemoryStore
from services.gateway.store.redis_store import RedisStore
from services.gateway.store.session_store import SessionStore

MEMORY = "memory://"
REDIS = ("redis://", "rediss://", "unix://")


def open_store(url: str) -> SessionStore:
    """The store that a URL means; connections are made at the first call.

    Raises:
        InputError: another kind of URL.
    """
    if url == MEMORY:
        return MemoryStore()
    if url.startswith(REDIS):
        return RedisStore(url)
    raise InputError("store", url.partition("://")[0], "redis://, rediss://, unix:// or memory://")
