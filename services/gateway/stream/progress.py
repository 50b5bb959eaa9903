"""The progress of a stream."""

from __future__ import annotations

from dataclasses import dataclass

from services.gateway.store.records import ChunkRecord, SessionAsset, SessionState


@dataclass(frozen=True, eq=False)
class Progress:
    """A value of the conductor; making a chunk and interrupting return the next one.

    Args:
        state: the session between two chunks, as committed.
        scene: the asset with the prompt of the next chunk, ``state.scene``.
        current: the chunk after it, once frames of it may have been sent.
    """

    state: SessionState
    scene: SessionAsset
    current: ChunkRecord | None = None
