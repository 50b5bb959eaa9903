"""Rejects work of a past epoch: after an interruption it is not needed."""

from __future__ import annotations

import grpc
from cachetools import LRUCache

from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.v1 import worker_pb2

_SESSIONS = 4_096


class EpochGuard:
    """Keeps the highest epoch of each session for the 4,096 most recent sessions."""

    def __init__(self) -> None:
        self._newest: LRUCache[str, int] = LRUCache(_SESSIONS)

    def check(self, key: worker_pb2.ChunkKey) -> None:
        """Records an epoch. Raises ServiceError (ABORTED, STALE_EPOCH) for a past one."""
        newest = self._newest.get(key.session_id, 0)
        if key.epoch < newest:
            raise ServiceError(
                grpc.StatusCode.ABORTED,
                Reason.STALE_EPOCH,
                f"epoch {key.epoch} is outdated; the session is in epoch {newest}",
            )
        self._newest[key.session_id] = key.epoch

    def __len__(self) -> int:
        return len(self._newest)
