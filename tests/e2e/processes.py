"""The suite as processes of a test, and the frames that it must give."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import socket
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import psutil
from PIL import Image

from flashtalk.arrays import Rgb
from flashtalk.client import Event, FlashTalkClient, SessionStream
from flashtalk.engine import Pipeline, talk
from flashtalk.streaming import Pcm
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from services.local import LocalConfig, LocalSuite, gateway_settings, local_suite
from tests.e2e.forked_services import forked_services
from tests.patience import patient

FILE: dict[str, Any] = {
    "video_codec": media_pb2.VIDEO_CODEC_RAW_RGB24,
    "idle_policy": pb.IDLE_POLICY_WAIT,
    "pacing": pb.PACING_UNLIMITED,
}
Made = TypeVar("Made")

# Limits of the product that only what hangs reaches: under load a service may take minutes to
# start again, and whoever waits for it must not give up before.
_START_S, _STOP_S = 240.0, 60.0
_CALL_S, _CHUNK_S, _DRAIN_S = 120.0, 240.0, 60.0
_SCENARIO_S = 280.0
_LONGEST_DRAIN_S = 600.0
# The last piece of speech, less than a chunk: it is held back until a disturbance has begun.
_HELD_S = 0.5


def speech(seconds: float, seed: int = 0) -> Pcm:
    samples = int(seconds * 16_000)
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def face(seed: int = 0) -> Rgb:
    """A portrait of the micro model's size."""
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def png(portrait_HWC: Rgb) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(portrait_HWC).save(buffer, "PNG")
    return buffer.getvalue()


def expected_frames(pipeline: Pipeline, portrait_HWC: Rgb, pcm_S: Pcm, seed: int) -> list[bytes]:
    """What ``talk()`` makes in this process."""
    results = talk(pipeline, portrait_HWC, [pcm_S], seed=seed)
    return [frame.tobytes() for result in results for frame in result.frames_THWC]


def pixels(frames: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(frames), np.uint8)


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
    limits = {"CALL_TIMEOUT": _CALL_S, "CHUNK_TIMEOUT": _CHUNK_S}
    given |= {f"FLASHTALK_GATEWAY_{name}_S": str(patient(s)) for name, s in limits.items()}
    given["FLASHTALK_GATEWAY_DRAIN_S"] = str(min(_LONGEST_DRAIN_S, patient(_DRAIN_S)))
    return given | settings


@contextlib.asynccontextmanager
async def suite(
    weights: Path,
    folder: Path,
    *,
    store: str = "memory://",
    gateways: int = 1,
    ranks: Mapping[str, int] | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[LocalSuite]:
    """The suite while the block runs; fails if anything of it is left afterwards.

    Its services are copies of one process that has imported everything (``forked_services``); those
    that a person's command starts are in test_commands.py.
    """
    config = LocalConfig(
        environment=environment(weights, **(settings or {})),
        folder=folder,
        store=store,
        gateways=gateways,
        ranks=ranks or {},
        start_s=patient(_START_S),
        stop_s=patient(_STOP_S),
    )
    with forked_services():
        async with local_suite(config) as running:
            pids = [service.process.pid for service in running.services.values()]
            yield running
            pids += [service.process.pid for service in running.services.values()]
    left = [pid for pid in pids if psutil.pid_exists(pid)]
    assert left == [], left


class KeptSuite:
    """A suite that several tests use; its processes belong to one event loop."""

    def __init__(self, runner: asyncio.Runner, running: LocalSuite) -> None:
        self._runner, self.running = runner, running

    def run(self, scenario: Callable[[LocalSuite], Awaitable[Made]]) -> Made:
        """What a scenario returns."""

        async def bounded() -> Made:
            async with asyncio.timeout(patient(_SCENARIO_S)):
                return await scenario(self.running)

        return self._runner.run(bounded())


@contextlib.contextmanager
def kept_suite(weights: Path, folder: Path, **options: Any) -> Iterator[KeptSuite]:
    """``suite`` for a fixture of a module; options as there."""
    with asyncio.Runner() as runner:
        around = suite(weights, folder, **options)
        running = runner.run(_entered(around))
        try:
            yield KeptSuite(runner, running)
        finally:
            runner.run(_left(around))


async def _entered(around: contextlib.AbstractAsyncContextManager[LocalSuite]) -> LocalSuite:
    return await around.__aenter__()


async def _left(around: contextlib.AbstractAsyncContextManager[LocalSuite]) -> None:
    await around.__aexit__(None, None, None)


def targets(running: LocalSuite) -> str:
    return ",".join(s.target for s in running.services.values() if s.name.startswith("gateway"))


def patient_client(running: LocalSuite) -> FlashTalkClient:
    """A client that begins with the first gateway and waits as long as a start may take."""
    return FlashTalkClient(targets(running), call_s=patient(_CALL_S), patience_s=patient(_START_S))


async def kill(running: LocalSuite, name: str) -> None:
    """SIGKILL; returns when the process is no more."""
    process = running.services[name].process
    process.send_signal(signal.SIGKILL)
    await process.wait()


async def restart(running: LocalSuite, name: str) -> None:
    """The same service on the same port."""
    role = name.removesuffix("_2")
    settings = {}
    if role == "gateway":
        found = {n: s.target for n, s in running.services.items() if not n.startswith("gateway")}
        settings = gateway_settings(running.config.store, found)
    port = int(running.services[name].target.rpartition(":")[2])
    await running.start(role, name, port, settings)


async def kill_and_restart(running: LocalSuite, name: str) -> None:
    """Both, one after the other."""
    await kill(running, name)
    await restart(running, name)


@contextlib.contextmanager
def held_ports(count: int) -> Iterator[list[int]]:
    """Ports for servers that reuse addresses; nobody else is given them while the block runs."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        yield [int(one.getsockname()[1]) for one in held]


def metrics_page(port: int) -> str:
    """Of a service on this machine, whatever proxy the environment names."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=patient(60)) as page:
        text: str = page.read().decode()
    return text


async def collect(
    stream: SessionStream, events: list[Event], until: Callable[[list[Event]], bool]
) -> None:
    while not until(events):
        events.append(await anext(stream))


def frames_of(events: list[Event]) -> list[stream_pb2.Frame]:
    return [event for event in events if isinstance(event, stream_pb2.Frame)]


async def nothing() -> None:
    """Of a session that is not disturbed."""


async def disturbed(
    client: FlashTalkClient,
    portrait: bytes,
    pcm_S: Pcm,
    frame: int,
    disturb: Callable[[], Awaitable[None]],
    *,
    seed: int = 7,
    reconnects: int = 0,
) -> list[bytes]:
    """A session's frames, something having been done to the suite when ``frame`` of them were
    there; insists that each came once and in order.

    The end of the speech is held back until ``disturb`` has begun, so that it always meets a
    session that still needs everybody. ``reconnects`` is how often the client must at least have
    opened its stream again.
    """
    session = await client.create_session(portrait, seed=seed, **FILE)
    events: list[Event] = []
    held = int(_HELD_S * 16_000)
    async with client.stream(session) as stream:
        await stream.push_audio(pcm_S[:-held])
        await collect(stream, events, lambda e: len(frames_of(e)) >= frame)
        doing = asyncio.ensure_future(disturb())
        await asyncio.sleep(0)  # what it does first is done
        await stream.push_audio(pcm_S[-held:])
        await stream.finish()
        events += [event async for event in stream]
        await doing
        assert stream.reconnects >= reconnects, "who was hurt served this session"
    frames = frames_of(events)
    assert [f.frame_index for f in frames] == list(range(len(frames)))
    sound = np.concatenate([np.frombuffer(f.pcm, "<f4") for f in frames])
    np.testing.assert_array_equal(sound[: len(pcm_S)], pcm_S)
    assert len(sound) == 640 * len(frames)
    return [f.video for f in frames]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(patient(_SCENARIO_S)):
            await scenario()

    asyncio.run(bounded())
