"""Conditionings that are kept, by name, as many as fit into so many bytes."""

from __future__ import annotations

import math

from cachetools import LRUCache
from prometheus_client import Gauge

from flashtalk.engine import Conditioning
from flashtalk.errors import FlashTalkError

KEPT_BYTES = Gauge(
    "flashtalk_dit_worker_conditioning_bytes", "Memory of cached conditionings in bytes."
)
KEPT = Gauge("flashtalk_dit_worker_conditionings", "Cached conditionings.")


class ConditioningMissing(FlashTalkError):
    """A chunk asks for a conditioning that is not kept (any more)."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"conditioning {digest[:12]} is not cached on this worker; call Condition")


class ConditioningCache:
    """The ones used last; who asks for one that is gone sends it again.

    Every rank of a group is told the same in the same order, so all of them keep the same ones.

    Args:
        limit_bytes: of all together; the newest is kept even if it is larger alone.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        # The cache would refuse what is larger than its own limit, and that is kept here.
        self._kept: LRUCache[str, Conditioning] = LRUCache(math.inf, getsizeof=size_bytes)

    def __contains__(self, digest: str) -> bool:
        return digest in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """Memory of all together."""
        return int(self._kept.currsize)

    def get(self, digest: str) -> Conditioning | None:
        """The one of that name, which is now the newest."""
        return self._kept.get(digest)

    def put(self, conditioning: Conditioning) -> None:
        """Keeps one, and forgets the oldest beyond the limit."""
        self._kept[conditioning.digest] = conditioning
        while self.bytes > self._limit_bytes and len(self._kept) > 1:
            self._kept.popitem()
        KEPT_BYTES.set(self.bytes)
        KEPT.set(len(self._kept))


def size_bytes(conditioning: Conditioning) -> int:
    """Memory of its tensors."""
    context = conditioning.context
    tensors = [conditioning.y_BCFHW, *(() if context is None else context.tensors())]
    return sum(tensor.nbytes for tensor in tensors)
