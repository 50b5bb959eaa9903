"""The progress of a stream."""

from __future__ import annotations

from dataclasses import dataclass

from services.gateway.store.records import ChunkRecord, SessionState


@dataclass(frozen=True, eq=False)
class Progress:
    """A value of the conductor; making a chunk and interrupting return the next one.

    Args:
        state: the session between two chunks, as committed.
        current: the chunk after it, once frames of it may have been sent.
    """

    state: SessionState
    current: ChunkRecord | None = None
