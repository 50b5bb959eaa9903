"""Counts sessions per key in this process's memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from services.gateway.store.session_store import KeyFull, KeyLimits

MINUTE_S = 60.0
_RETRY_AFTER_S = 2.0
_MARGIN_S = 0.01
"""Added to the delay: a retry after exactly that delay must not be early by a rounding error."""


def too_many_open(key_name: str, limits: KeyLimits) -> KeyFull:
    """The key's limit of open sessions and sessions in creation is reached."""
    most = f"the maximum of {limits.max_sessions} open sessions"
    return KeyFull(f"API key {key_name} has {most}", "max_sessions", _RETRY_AFTER_S)


def too_many_begun(key_name: str, limits: KeyLimits, wait_s: float) -> KeyFull:
    """The key's limit of creations per minute is reached."""
    most = f"the maximum of {limits.per_minute} sessions per minute"
    return KeyFull(
        f"API key {key_name} has created {most}", "sessions_per_minute", wait_s + _MARGIN_S
    )


@dataclass
class KeyCounts:
    """The counts of one key.

    Args:
        making: sessions in creation, and the expiry of each.
        begun: sessions and their creation times, oldest first.
    """

    making: dict[str, float] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)

    def forget(self, now_s: float) -> bool:
        """Removes expired counts; returns True if none is left."""
        self.making = {name: s for name, s in self.making.items() if s > now_s}
        self.begun = {name: s for name, s in self.begun.items() if s > now_s - MINUTE_S}
        return not (self.making or self.begun)

    def admit(
        self,
        key_name: str,
        session_id: str,
        open_ids: Collection[str],
        limits: KeyLimits,
        now_s: float,
        lease_s: float,
    ) -> None:
        """As ``SessionStore.admit``; ``open_ids`` are the live sessions of the key."""
        self.forget(now_s)
        if session_id in self.making:
            return
        if limits.max_sessions and len({*open_ids, *self.making}) >= limits.max_sessions:
            raise too_many_open(key_name, limits)
        if limits.per_minute and len(self.begun) >= limits.per_minute:
            leaves_s = list(self.begun.values())[len(self.begun) - limits.per_minute]
            raise too_many_begun(key_name, limits, leaves_s + MINUTE_S - now_s)
        self.making[session_id] = now_s + lease_s
        self.begun[session_id] = now_s
