"""A gateway that shows one colour and says what it hears; without workers, stores or models.

It runs in a thread of its own: a command can be tried against it in this process or another.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from flashtalk.media import decode_image
from flashtalk.media.h264 import ChunkEncoder
from flashtalk.streaming import StreamSpec
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import session_service_pb2_grpc as pb_grpc
from flashtalk.wire import pcm_from_bytes
from tests.patience import patient

SPEC = StreamSpec()
SIZE_PX = 32
MOST_BYTES, MOST_PIXELS = 8 * 2**20, 40_000_000
_F32 = media_pb2.AUDIO_ENCODING_PCM_F32LE


@dataclass
class Heard:
    """What came.

    Attributes:
        portraits: sizes in pixels, width and height.
        pcm: of the last stream that was finished, float32.
        deleted: sessions that were given up.
        connected: set while a stream is open.
        lost_frames: of the first ones, so many do not arrive.
    """

    target: str = ""
    portraits: list[tuple[int, int]] = field(default_factory=list)
    pcm: Any = None
    deleted: int = 0
    connected: threading.Event = field(default_factory=threading.Event)
    lost_frames: int = 0


class _Servicer(pb_grpc.SessionServiceServicer):
    def __init__(self, heard: Heard) -> None:
        self._heard, self._sessions = heard, 0

    async def CreateSession(self, request: Any, context: Any) -> pb.CreateSessionResponse:
        """As a gateway does it: another kind of picture is refused."""
        assert len(request.portrait) <= MOST_BYTES
        rgb_HWC = decode_image(request.portrait, "portrait", max_pixels=MOST_PIXELS)
        self._heard.portraits.append((rgb_HWC.shape[1], rgb_HWC.shape[0]))
        self._sessions += 1
        size = media_pb2.VideoSize(width_px=SIZE_PX, height_px=SIZE_PX)
        spec = media_pb2.StreamSpec(
            fps=SPEC.fps,
            sample_rate_hz=SPEC.pcm_hz,
            samples_per_frame=SPEC.samples_per_frame,
            chunk_frames=SPEC.new_frames,
            size=size,
        )
        limits = pb.SessionLimits(
            max_packet_bytes=2**20,
            max_buffered_samples=30 * SPEC.pcm_hz,
            max_portrait_bytes=MOST_BYTES,
        )
        session = pb.Session(session_id=f"s{self._sessions}", spec=spec, limits=limits)
        return pb.CreateSessionResponse(session=session)

    async def DeleteSession(self, request: Any, context: Any) -> pb.DeleteSessionResponse:
        """Counts."""
        self._heard.deleted += 1
        return pb.DeleteSessionResponse()

    async def Stream(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        """A frame for every 640 samples, as they come."""
        self._heard.connected.set()
        encoder = ChunkEncoder(size_hw=(SIZE_PX, SIZE_PX), fps=SPEC.fps)
        frames, samples, waiting = 0, 0, np.zeros(0, np.float32)
        parts: list[Any] = []
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind == "open":
                yield _response(opened=stream_pb2.StreamOpened(audio_encoding=_F32))
            elif kind == "audio":
                pcm_S = pcm_from_bytes(request.audio.pcm, _F32, "audio")
                assert request.audio.first_sample == samples
                samples += len(pcm_S)
                parts.append(pcm_S)
                waiting = np.concatenate([waiting, pcm_S])
            elif kind == "finish" and len(waiting) % SPEC.samples_per_frame:
                missing = -len(waiting) % SPEC.samples_per_frame
                waiting = np.concatenate([waiting, np.zeros(missing, np.float32)])
            while len(waiting) >= SPEC.samples_per_frame:
                shown, waiting = np.split(waiting, [SPEC.samples_per_frame])
                frame = _frame(encoder, frames, shown)
                if frames >= self._heard.lost_frames:
                    yield _response(frame=frame)
                frames += 1
            yield _response(chunk=stream_pb2.ChunkReport(input_samples=samples))
            if kind == "finish":
                break
        self._heard.pcm = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        reason = stream_pb2.StreamClosed.REASON_FINISHED
        yield _response(closed=stream_pb2.StreamClosed(reason=reason))


def _response(**message: Any) -> stream_pb2.StreamResponse:
    return stream_pb2.StreamResponse(**message)


def _frame(encoder: ChunkEncoder, index: int, pcm_S: Any) -> stream_pb2.Frame:
    # Noise, so that a pipe fills up.
    noise = np.random.default_rng(index)
    picture_HWC = noise.integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    return stream_pb2.Frame(
        frame_index=index,
        first_sample=index * SPEC.samples_per_frame,
        pcm=pcm_S.astype("<f4").tobytes(),
        video=encoder.encode(picture_HWC),
        key_frame=index == 0,
    )


@contextlib.contextmanager
def echo_gateway(lost_frames: int = 0) -> Iterator[Heard]:
    """A gateway on loopback for as long as the block takes."""
    heard, ready, loop = Heard(lost_frames=lost_frames), threading.Event(), asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        options = [("grpc.max_receive_message_length", 64 * 2**20)]
        server = grpc.aio.server(options=options)
        pb_grpc.add_SessionServiceServicer_to_server(_Servicer(heard), server)
        heard.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        ready.set()
        await stopping.wait()
        await server.stop(0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(patient(30))
        yield heard
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()
