"""Number of devices for N sessions: pods for the whole chunk, or pods for each half of it.

A session's chunk passes through the transformer, then through the VAE, and the next chunk needs
both. So its cycle is their sum, and must be shorter than the video of the chunk (14B: 1.12 s).
Separate pods sample one session's latents while another's pictures are decoded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flashtalk.errors import InputError
from flashtalk.parallel.step_time import Link, OneDevice, step_ms, vae_ms


@dataclass(frozen=True)
class Times:
    """Times of one chunk on one kind of pods, in milliseconds."""

    dit_ms: float
    vae_ms: float
    rest_ms: float

    @property
    def cycle_ms(self) -> float:
        """Compute latency, from the last sample of a chunk to its motion latents."""
        return self.dit_ms + self.vae_ms + self.rest_ms


@dataclass(frozen=True)
class Fleet:
    """A layout for some sessions.

    Args:
        dit_ranks, vae_ranks: devices per pod; ``vae_ranks`` 0: one pod computes both halves.
        dit_pods, vae_pods: numbers of pods.
        sessions: number of sessions that they serve, at least the requested number.
        times: times of a chunk.
    """

    dit_ranks: int
    vae_ranks: int
    dit_pods: int
    vae_pods: int
    sessions: int
    times: Times

    @property
    def devices(self) -> int:
        """Total number of devices."""
        return self.dit_ranks * self.dit_pods + self.vae_ranks * self.vae_pods


def chunk_times(
    one: OneDevice,
    link: Link,
    size_hw: tuple[int, int],
    steps: int,
    dit_ranks: int,
    vae_ranks: int,
    *,
    exact: bool = True,
) -> Times:
    """Returns the times of a chunk on pods with these numbers of ranks."""
    return Times(
        dit_ms=steps * step_ms(one, dit_ranks, size_hw, link),
        vae_ms=sum(vae_ms(one, vae_ranks, size_hw, decode=d, exact=exact) for d in (True, False)),
        rest_ms=one.audio_ms + one.other_ms,
    )


def fleets(
    one: OneDevice,
    link: Link,
    size_hw: tuple[int, int],
    steps: int,
    sessions: int,
    busy_share: float = 0.8,
    *,
    exact: bool = True,
) -> list[Fleet]:
    """Returns all layouts that serve this number of sessions in real time, fewest devices first.

    Args:
        busy_share: share of a pod's time that sessions may use, 0 to 1; the rest is a margin for
            portraits, delays, and chunks that wait for a pod at the same time.
        exact: False for a VAE with the published windows.

    Raises:
        InputError: no sessions, or an invalid share.
    """
    if sessions < 1:
        raise InputError("sessions", sessions, "at least 1")
    if not 0 < busy_share <= 1:
        raise InputError("busy share", busy_share, "above 0, at most 1")
    found, chunk_ms = [], one.planned.chunk_ms
    for dit_ranks in one.planned.dit_ranks:
        for vae_ranks in (0, *one.planned.vae_ranks):
            times = chunk_times(
                one, link, size_hw, steps, dit_ranks, vae_ranks or dit_ranks, exact=exact
            )
            if times.cycle_ms > chunk_ms:
                continue
            fleet = _fleet(times, dit_ranks, vae_ranks, sessions, busy_share * chunk_ms)
            if fleet is not None:
                found.append(fleet)
    return sorted(found, key=lambda fleet: (fleet.devices, fleet.times.cycle_ms))


def _fleet(
    times: Times, dit_ranks: int, vae_ranks: int, sessions: int, usable_ms: float
) -> Fleet | None:
    if not vae_ranks:
        each = math.floor(usable_ms / (times.dit_ms + times.vae_ms))
        if not each:
            return None
        pods = -(-sessions // each)
        return Fleet(dit_ranks, 0, pods, 0, pods * each, times)
    of_dit = math.floor(usable_ms / times.dit_ms)
    of_vae = math.floor(usable_ms / times.vae_ms)
    if not of_dit or not of_vae:
        return None
    dit_pods, vae_pods = -(-sessions // of_dit), -(-sessions // of_vae)
    return Fleet(
        dit_ranks, vae_ranks, dit_pods, vae_pods, min(dit_pods * of_dit, vae_pods * of_vae), times
    )
