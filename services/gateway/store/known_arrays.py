"""Which arrays of a session the store has already, so that they are not sent again."""

from __future__ import annotations

from collections.abc import Iterable

from cachetools import LRUCache

from services.gateway.store.codec import ArraysByDigest

_SESSIONS = 4_096


class KnownArrays:
    """A guess that may be wrong: whoever sends too little is told, and sends everything.

    Remembers the sessions that were asked about or written last, ``_SESSIONS`` of them.
    """

    def __init__(self) -> None:
        self._known: LRUCache[str, frozenset[bytes]] = LRUCache(_SESSIONS)

    def unsent(self, session_id: str, arrays: ArraysByDigest) -> ArraysByDigest:
        """Those that the store is not known to have."""
        known = self._known.get(session_id, frozenset())
        return {digest: array for digest, array in arrays.items() if digest not in known}

    def add(self, session_id: str, digests: Iterable[bytes]) -> None:
        """The store has these too."""
        self.replace(session_id, self._known.get(session_id, frozenset()).union(digests))

    def replace(self, session_id: str, digests: Iterable[bytes]) -> None:
        """The store has these and no others."""
        self._known[session_id] = frozenset(digests)

    def forget(self, session_id: str) -> None:
        """Nothing is known."""
        self._known.pop(session_id, None)

    def __len__(self) -> int:
        return len(self._known)
