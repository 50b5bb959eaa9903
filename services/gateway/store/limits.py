"""Timeouts and lifetimes of a store."""

from __future__ import annotations

from dataclasses import dataclass

# Limit of queued interruptions from other gateways per session; the oldest are dropped.
WAITING_INTERRUPTS = 16


@dataclass(frozen=True)
class StoreLimits:
    """Timeouts and lifetimes of a store; all gateways of a deployment need the same values.

    Args:
        deadline_s: of one call, including retries while the store is unavailable.
        attempt_s: timeout of one attempt, including connecting.
        owner_timeout_s: after this time without a heartbeat, the session may be claimed.
        tombstone_s: how long the owner of a deleted or expired session can learn of it.
        interrupt_s: how long an interruption waits for the owner.
        answer_s: how long the outcome of an interruption is kept and its name stays reserved.
        asset_margin_s: time that an asset lives longer than its youngest session.
        connections: limit of connections to Redis.
        prefix: of all keys in Redis; deployments that share a Redis need different prefixes.
    """

    deadline_s: float = 10.0
    attempt_s: float = 3.0
    owner_timeout_s: float = 3.0
    tombstone_s: float = 60.0
    interrupt_s: float = 10.0
    answer_s: float = 60.0
    asset_margin_s: float = 60.0
    connections: int = 16
    prefix: str = "flashtalk"
