"""How patient a store is, and how long it keeps things."""

from __future__ import annotations

from dataclasses import dataclass

# Interruptions from elsewhere that may wait for the owner of a session; the oldest are given up.
WAITING_INTERRUPTS = 16


@dataclass(frozen=True)
class StoreLimits:
    """Waits and lives of a store; all gateways of a deployment need the same.

    Args:
        deadline_s: one call, attempts while the store is away included.
        attempt_s: one attempt, connecting included.
        owner_timeout_s: after so long without a word from its owner, a session may be claimed.
        tombstone_s: how long the owner of a deleted or expired session can learn of it.
        interrupt_s: how long an interruption waits for the owner.
        answer_s: how long the outcome of an interruption is kept, and its name not used again.
        asset_margin_s: how much longer than its youngest session an asset lives.
        connections: to Redis, at most.
        prefix: of all keys in Redis; deployments that share a Redis need different ones.
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
