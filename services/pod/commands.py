"""Commands that every leader may send to its followers; picklable values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ping:
    """Keepalive of the leader; no work."""


@dataclass(frozen=True)
class Warm:
    """The warm-up is over: from now on a rank without progress is faulty."""


@dataclass(frozen=True)
class Shutdown:
    """Ends the loop of a follower."""
