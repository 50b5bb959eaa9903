"""How many devices N sessions need: pods that do everything, or pods for each half of a chunk.

A session's chunk goes through the transformer, then through the VAE, and the next chunk needs both:
its cycle is their sum, and has to be shorter than the 1.12 s that the chunk plays. Separate pods
gain by doing one session's latents while another's pictures are decoded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flashtalk.errors import InputError
from flashtalk.parallel.step_time import SPEC, Link, OneDevice, step_ms, vae_ms

CHUNK_MS = 1e3 * SPEC.new_s
RANKS = (1, 2, 4, 5, 8)
"""Ulysses degrees of 40 heads; a pod is one host."""


@dataclass(frozen=True)
class Times:
    """Of one chunk on one kind of pods, milliseconds."""

    dit_ms: float
    vae_ms: float
    rest_ms: float

    @property
    def cycle_ms(self) -> float:
        """From the last sample of a chunk to its motion latents: compute latency."""
        return self.dit_ms + self.vae_ms + self.rest_ms

    @property
    def fps(self) -> float:
        """Frames per second of one session that has its pods to itself."""
        return 1e3 * SPEC.new_frames / self.cycle_ms


@dataclass(frozen=True)
class Fleet:
    """A layout for some sessions.

    Args:
        dit_ranks, vae_ranks: devices per pod; ``vae_ranks`` 0: one pod does both.
        dit_pods, vae_pods: how many.
        sessions: that they keep, at least as many as were asked for.
        times: of a chunk.
    """

    dit_ranks: int
    vae_ranks: int
    dit_pods: int
    vae_pods: int
    sessions: int
    times: Times

    @property
    def devices(self) -> int:
        """All of them."""
        return self.dit_ranks * self.dit_pods + self.vae_ranks * self.vae_pods


def chunk_times(
    one: OneDevice, link: Link, size_hw: tuple[int, int], steps: int, dit_ranks: int,
    vae_ranks: int, *, exact: bool = True,
) -> Times:  # fmt: skip
    """What a chunk takes on pods of so many ranks."""
    return Times(
        dit_ms=steps * step_ms(one, dit_ranks, size_hw, link),
        vae_ms=sum(vae_ms(one, vae_ranks, size_hw, decode=d, exact=exact) for d in (True, False)),
        rest_ms=one.audio_ms + one.other_ms,
    )


def fleets(
    one: OneDevice, link: Link, size_hw: tuple[int, int], steps: int, sessions: int,
    busy_share: float = 0.8, *, exact: bool = True,
) -> list[Fleet]:  # fmt: skip
    """All layouts that keep so many sessions in real time, the one with the fewest devices first.

    Args:
        busy_share: of a pod's time that sessions may use, 0 to 1; the rest is for portraits, bad
            luck, and chunks that meet in front of a pod.
        exact: False has a VAE of the published windows.

    Raises:
        InputError: no sessions, or a share that is none.
    """
    if sessions < 1:
        raise InputError("sessions", sessions, "at least 1")
    if not 0 < busy_share <= 1:
        raise InputError("busy share", busy_share, "above 0, at most 1")
    found = []
    for dit_ranks in RANKS:
        for vae_ranks in (0, *RANKS):
            times = chunk_times(one, link, size_hw, steps, dit_ranks, vae_ranks or dit_ranks,
                                exact=exact)  # fmt: skip
            if times.cycle_ms > CHUNK_MS:
                continue
            fleet = _fleet(times, dit_ranks, vae_ranks, sessions, busy_share * CHUNK_MS)
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
    return Fleet(dit_ranks, vae_ranks, dit_pods, vae_pods,
                 min(dit_pods * of_dit, vae_pods * of_vae), times)  # fmt: skip
