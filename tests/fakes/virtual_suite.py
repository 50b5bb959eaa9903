"""The suite of ``tests.integration.gateway`` without sockets, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from services.gateway.settings import GatewaySettings
from tests.fakes.in_process_grpc import Network
from tests.fakes.stand_in_workers import StandIn
from tests.fakes.virtual_time import pass_time, run_virtual
from tests.integration.gateway.suite import (
    SPEC,
    bounded,
    creation,
    end,
    opened,
    send,
    small_suite,
)
from tests.integration.gateway.watcher import Watcher

FRAME_S = 1 / SPEC.fps
AHEAD_S = GatewaySettings().send_ahead_s
ROUNDING_S = 1e-6  # the clock counts in steps of 1e-13 s, and sums of many are taken


@dataclass
class TimedWatcher(Watcher):
    """Also notes when each frame came, in seconds of the loop's clock."""

    at_s: list[float] = field(default_factory=list)

    def take(self, response: stream_pb2.StreamResponse) -> str:
        kind = super().take(response)
        if kind in ("frame", "frames"):
            now_s = asyncio.get_running_loop().time()
            self.at_s += [now_s] * (self.next_frame - len(self.at_s))
        elif kind == "interrupted":
            del self.at_s[self.next_frame :]
        return kind

    def check_pace(self, ahead_s: float = AHEAD_S) -> None:
        """A player that begins when it has so much shows every frame at its time.

        None came sooner than it may leave either.
        """
        soonest_s = self.at_s[0] + FRAME_S * np.arange(len(self.at_s))
        assert (np.array(self.at_s) >= soonest_s - ROUNDING_S).all()
        assert (np.array(self.at_s) <= soonest_s + ahead_s + ROUNDING_S).all()

    def check_steps(self) -> None:
        """A frame came every 40 ms, neither sooner nor later."""
        np.testing.assert_allclose(np.diff(self.at_s), FRAME_S, rtol=0, atol=ROUNDING_S)


def in_virtual_time(scenario: Callable[[], Awaitable[None]]) -> None:
    """Runs a scenario of ``virtual_suite`` and sees that no task of ours outlives it."""
    run_virtual(lambda: bounded(scenario, limit_s=86_400))


def virtual_suite(stand_in: StandIn | None = None, **kwargs: Any) -> Any:
    """``small_suite`` without sockets."""
    return small_suite(stand_in, transport=Network(), **kwargs)


async def talking(stub: Any, together: int = 0, **fields: Any) -> tuple[Any, str, TimedWatcher]:
    """A new session, live and idling in motion unless told otherwise, and its open stream."""
    live: dict[str, Any] = {
        "idle_policy": pb.IDLE_POLICY_MODEL,
        "pacing": pb.PACING_REAL_TIME,
        "video_codec": media_pb2.VIDEO_CODEC_H264,
    }
    made = await stub.CreateSession(creation(**{**live, **fields}))
    call, _ = await opened(stub, made.session.session_id, together=together)
    return call, made.session.session_id, TimedWatcher(together=together)


async def speak(call: Any, pcm_S: np.ndarray, first: int = 0, packet: int = 1_600) -> None:
    """Speech as somebody says it: each packet when it has been spoken, then the end."""
    for begin in range(0, len(pcm_S), packet):
        part_S = pcm_S[begin : begin + packet]
        await pass_time(len(part_S) / SPEC.pcm_hz)
        first = await send(call, part_S, first)
    await end(call)
