"""What every leader may tell its ranks, whatever they compute; values that can be sent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ping:
    """Nothing to do; the leader is there."""


@dataclass(frozen=True)
class Warm:
    """The warm-up is over: from now on a rank that stands still is at fault."""


@dataclass(frozen=True)
class Shutdown:
    """End the loop of a follower."""
