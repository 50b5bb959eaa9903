"""The suite as processes of a test, and the frames that it must give."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
from PIL import Image

from flashtalk.client import Event, FlashTalkClient, SessionStream
from flashtalk.engine import Pipeline, talk
from flashtalk.streaming import Pcm
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from services.local import LocalConfig, LocalSuite, gateway_settings, local_suite

FILE: dict[str, Any] = {
    "video_codec": media_pb2.VIDEO_CODEC_RAW_RGB24,
    "idle_policy": pb.IDLE_POLICY_WAIT,
    "pacing": pb.PACING_UNLIMITED,
}
Frames = npt.NDArray[np.uint8]


def speech(seconds: float, seed: int = 0) -> Pcm:
    samples = int(seconds * 16_000)
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def face(seed: int = 0) -> Frames:
    """A portrait of the micro model's size."""
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def png(portrait_HWC: Frames) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(portrait_HWC).save(buffer, "PNG")
    return buffer.getvalue()


def expected_frames(pipeline: Pipeline, portrait_HWC: Frames, pcm_S: Pcm, seed: int) -> list[bytes]:
    """What ``talk()`` makes in this process."""
    results = talk(pipeline, portrait_HWC, [pcm_S], seed=seed)
    return [frame.tobytes() for result in results for frame in result.frames_THWC]


def environment(weights: Path, **settings: str) -> dict[str, str]:
    """Of the processes: one thread each, so that sums are made in the same order as here."""
    given = dict(os.environ) | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}  # noqa: TID251 - what a shell would hand on
    for role in ("AUDIO_ENCODER", "DIT_WORKER", "VAE_DECODER"):
        given |= {
            f"FLASHTALK_{role}_WEIGHTS": str(weights),
            f"FLASHTALK_{role}_THREADS": "1",
            f"FLASHTALK_{role}_DEVICE": "cpu",
            f"FLASHTALK_{role}_SESSION_SLOTS": "8",
        }
    return given | settings


@contextlib.asynccontextmanager
async def suite(
    weights: Path,
    folder: Path,
    *,
    store: str = "memory://",
    gateways: int = 1,
    dit_ranks: int = 1,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[LocalSuite]:
    """The suite while the block runs; fails if anything of it is left afterwards."""
    config = LocalConfig(
        environment=environment(weights, **(settings or {})),
        folder=folder,
        store=store,
        gateways=gateways,
        dit_ranks=dit_ranks,
    )
    async with local_suite(config) as running:
        pids = [service.process.pid for service in running.services.values()]
        yield running
        pids += [service.process.pid for service in running.services.values()]
    left = [pid for pid in pids if psutil.pid_exists(pid)]
    assert left == [], left


def targets(running: LocalSuite) -> str:
    return ",".join(s.target for s in running.services.values() if s.name.startswith("gateway"))


async def kill_and_restart(running: LocalSuite, name: str, pause_s: float = 0.0) -> None:
    """SIGKILL, and after a while the same service on the same port."""
    service = running.services[name]
    service.process.send_signal(signal.SIGKILL)
    await service.process.wait()
    await asyncio.sleep(pause_s)
    role = name.removesuffix("_2")
    settings = {}
    if role == "gateway":
        found = {n: s.target for n, s in running.services.items() if not n.startswith("gateway")}
        settings = gateway_settings(running.config.store, found)
    await running.start(role, name, int(service.target.rpartition(":")[2]), settings)


async def collect(
    stream: SessionStream, events: list[Event], until: Callable[[list[Event]], bool]
) -> None:
    while not until(events):
        events.append(await anext(stream))


def frames_of(events: list[Event]) -> list[stream_pb2.Frame]:
    return [event for event in events if isinstance(event, stream_pb2.Frame)]


async def disturbed(
    client: FlashTalkClient,
    portrait: bytes,
    pcm_S: Pcm,
    frame: int,
    disturb: Callable[[], Awaitable[None]],
    *,
    seed: int = 7,
) -> list[bytes]:
    """A session's frames, something having been done to the suite when ``frame`` of them were
    there; insists that each came once and in order."""
    session = await client.create_session(portrait, seed=seed, **FILE)
    events: list[Event] = []
    async with client.stream(session) as stream:
        await stream.push_audio(pcm_S)
        await stream.finish()
        await collect(stream, events, lambda e: len(frames_of(e)) >= frame)
        doing = asyncio.ensure_future(disturb())
        events += [event async for event in stream]
        await doing
    frames = frames_of(events)
    assert [f.frame_index for f in frames] == list(range(len(frames)))
    sound = np.concatenate([np.frombuffer(f.pcm, "<f4") for f in frames])
    np.testing.assert_array_equal(sound[: len(pcm_S)], pcm_S)
    assert len(sound) == 640 * len(frames)
    return [f.video for f in frames]


def run(scenario: Callable[[], Awaitable[None]], limit_s: float = 280.0) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(limit_s):
            await scenario()

    asyncio.run(bounded())
