"""Callers that speak in real time, and what they notice.

Legend: S samples.
"""

from __future__ import annotations

import asyncio
import io
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from PIL import Image

from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import session_service_pb2_grpc as pb_grpc
from flashtalk.v1 import stream_pb2
from tests.patience import patient

FPS, PCM_HZ, CHUNK_FRAMES = 25, 16_000, 28
PACKET_S = 0.1
_STAGES = ("audio", "denoise", "decode", "commit")


@dataclass(frozen=True)
class Turns:
    """When a caller speaks: in a share of each period, and then says that it is done.

    Args:
        share: of the time; 1 speaks without a pause.
        period_s: one utterance and one pause.
        begun_s: of the period, so that callers do not speak in step.
    """

    share: float = 1.0
    period_s: float = 12.0
    begun_s: float = 0.0

    def speaks(self, packet: int) -> bool:
        """Whether the caller speaks while its packet of that number is due."""
        at_s = (packet * PACKET_S + self.begun_s) % self.period_s
        return at_s < self.share * self.period_s


@dataclass
class Noticed:
    """By one caller, or by all.

    Args:
        frames: that came.
        heads: (first frame of a message, when it came in monotonic seconds).
        chunks: (when the report came, wall seconds of the chunk, seconds its first frame was late)
            of chunks that a model made.
        played: when the report came of each other chunk: pictures that were there.
        underruns: how often silence stood in for late speech.
        misplaced: frames that were not the next one.
    """

    frames: int = 0
    heads: list[tuple[int, float]] = field(default_factory=list)
    chunks: list[tuple[float, float, float]] = field(default_factory=list)
    played: list[float] = field(default_factory=list)
    underruns: int = 0
    misplaced: int = 0

    def lags_s(self, since_s: float) -> list[float]:
        """How much later than the timeliest one each message came: the buffer that a player needs.

        Further frames of a message come earlier than they have to.
        """
        kept = [(index, at) for index, at in self.heads if at >= since_s]
        if not kept:
            return []
        zero = min(at - index / FPS for index, at in kept)
        return [at - index / FPS - zero for index, at in kept]


def portrait() -> bytes:
    """A PNG that every gateway takes."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 120, 150)).save(buffer, "PNG")
    return buffer.getvalue()


def creation(**fields: Any) -> pb.CreateSessionRequest:
    """A request for a session like any other's."""
    return pb.CreateSessionRequest(request_id=uuid.uuid4().hex, portrait=portrait(), **fields)


ALWAYS = Turns()


class Caller:
    """One caller: speaks in its turns, a tenth of a second at a time.

    Args:
        channel: to the gateway.
        seed: of the noise that it speaks.
        frames_per_message: that it asks for; 7 as the Python client.
        turns: when it speaks.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        seed: int,
        frames_per_message: int = 7,
        turns: Turns = ALWAYS,
    ) -> None:
        self._frames_per_message = frames_per_message
        self._stub: Any = pb_grpc.SessionServiceStub(channel)
        samples = int(PACKET_S * PCM_HZ)
        noise_S = np.random.default_rng(seed).integers(-3_000, 3_000, samples)
        self._pcm = noise_S.astype("<i2").tobytes()
        self._turns, self._said, self._speaking = turns, 0, False
        self.noticed = Noticed()

    async def run(self, until: asyncio.Event, **fields: Any) -> None:
        """A session from its making to its end; leaves when ``until`` is set."""
        made = await self._stub.CreateSession(creation(**fields), timeout=patient(60))
        name = made.session.session_id
        call = self._stub.Stream()
        try:
            await call.write(self._opening(name))
            speaking = asyncio.create_task(self._speak(call, until))
            async for response in call:
                self._notice(response)
            await speaking
        finally:
            call.cancel()

    def _opening(self, session_id: str) -> stream_pb2.StreamRequest:
        opening = stream_pb2.StreamOpen(
            session_id=session_id,
            sample_rate_hz=PCM_HZ,
            channels=1,
            frames_per_message=self._frames_per_message,
        )
        return stream_pb2.StreamRequest(open=opening)

    async def _speak(self, call: Any, until: asyncio.Event) -> None:
        begun_s, number = time.monotonic(), 0
        while not until.is_set():
            request = self._say(number)
            if request is not None:
                await call.write(request)
            number += 1
            await asyncio.sleep(max(0.0, begun_s + number * PACKET_S - time.monotonic()))
        await call.write(stream_pb2.StreamRequest(finish=stream_pb2.Finish()))

    def _say(self, number: int) -> stream_pb2.StreamRequest | None:
        """The packet of that number, the end of the utterance, or nothing in a pause."""
        before, self._speaking = self._speaking, self._turns.speaks(number)
        if self._speaking:
            packet = stream_pb2.AudioPacket(pcm=self._pcm, first_sample=self._said)
            self._said += len(self._pcm) // 2
            return stream_pb2.StreamRequest(audio=packet)
        return stream_pb2.StreamRequest(end_of_audio=stream_pb2.EndOfAudio()) if before else None

    def _notice(self, response: stream_pb2.StreamResponse) -> None:
        now_s = time.monotonic()
        kind = response.WhichOneof("message")
        if kind in ("frame", "frames"):
            frames = [response.frame] if kind == "frame" else response.frames.frames
            self.noticed.heads.append((frames[0].frame_index, now_s))
            for frame in frames:
                self.noticed.misplaced += frame.frame_index != self.noticed.frames
                self.noticed.frames += 1
        elif kind == "chunk":
            report = response.chunk
            if not any(stage.stage == "denoise" for stage in report.stages):
                self.noticed.played.append(now_s)
                return
            wall_s = sum(
                stage.duration.ToNanoseconds() / 1e9
                for stage in report.stages
                if stage.stage in _STAGES
            )
            self.noticed.chunks.append((now_s, wall_s, report.late.ToNanoseconds() / 1e9))
        elif kind == "underrun":
            self.noticed.underruns += 1


def percentiles_ms(values_s: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th in milliseconds; zeros for nothing."""
    if not values_s:
        return 0.0, 0.0
    p50, p99 = np.percentile(np.asarray(values_s) * 1e3, (50, 99))
    return float(p50), float(p99)
