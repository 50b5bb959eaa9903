"""How far a stream has come."""

from __future__ import annotations

from dataclasses import dataclass

from services.gateway.store.records import ChunkRecord, SessionState


@dataclass(frozen=True, eq=False)
class Progress:
    """A value of the conductor's; making a chunk and interrupting give the next one.

    Args:
        state: the session between two chunks, as it was committed.
        current: the chunk after it, once frames of it may have left.
    """

    state: SessionState
    current: ChunkRecord | None = None
