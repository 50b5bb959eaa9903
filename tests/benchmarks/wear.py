"""What wears a suite out: a stream that does not end, and sessions that come and go in every way.

Legend: S samples.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from flashtalk.client import FlashTalkClient, SessionStream
from flashtalk.streaming import Pcm
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from flashtalk.wire import pcm_from_bytes

TTL_S = 600.0
"""Of sessions that come and go: longer than any of them may take on a busy machine."""

PCM_HZ, FRAME_SAMPLES = 16_000, 640
_F32, _SEED = 2, 7
_AT_ONCE = 4
_PUSH_SAMPLES = 8_000
_UNLIMITED: dict[str, Any] = {
    "idle_policy": pb.IDLE_POLICY_WAIT,
    "pacing": pb.PACING_UNLIMITED,
}


def portrait(seed: int = 0) -> bytes:
    """A PNG."""
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def voice(first: int, count: int) -> Pcm:
    """Samples of an endless sound, each a function of its number: 4 s of noise, 2 s of silence."""
    number_S = np.arange(first, first + count, dtype=np.uint64)
    noise_S = ((number_S * np.uint64(2_654_435_761)) >> np.uint64(13)) & np.uint64(0x3FFF)
    speaks_S = number_S // np.uint64(2 * PCM_HZ) % np.uint64(3) < np.uint64(2)
    return np.where(speaks_S, noise_S.astype(np.float32) / 32_768, 0).astype(np.float32)


async def stream_for(
    client: FlashTalkClient, minutes: float, tick: Callable[[float], None]
) -> dict[str, Any]:
    """One session of so many minutes, as fast as it goes; ``tick`` gets the seconds of video.

    It is the same session each time: the digest of its frames must not depend on what ran before.
    """
    samples = round(minutes * 60 * PCM_HZ) // FRAME_SAMPLES * FRAME_SAMPLES
    session = await client.create_session(portrait(), seed=_SEED, **_UNLIMITED)
    digest = hashlib.sha256()
    begun_s, frames, chunks, retries, misplaced = time.monotonic(), 0, 0, 0, 0

    async def speak(stream: SessionStream) -> None:
        for first in range(0, samples, _PUSH_SAMPLES):
            await stream.push_audio(voice(first, min(_PUSH_SAMPLES, samples - first)))
        await stream.finish()

    async with client.stream(session) as stream, asyncio.TaskGroup() as group:
        group.create_task(speak(stream))
        async for event in stream:
            if isinstance(event, stream_pb2.Frame):
                heard_S = pcm_from_bytes(event.pcm, _F32, "pcm")
                wanted_S = voice(frames * FRAME_SAMPLES, FRAME_SAMPLES)
                at_place = event.first_sample == event.frame_index * FRAME_SAMPLES
                misplaced += FRAME_SAMPLES * (not at_place or event.frame_index != frames)
                misplaced += int((heard_S != wanted_S).sum())
                digest.update(event.video)
                frames += 1
            elif isinstance(event, stream_pb2.ChunkReport):
                chunks, retries = chunks + 1, retries + event.retries
                tick(frames / 25)
    misplaced += abs(samples - frames * FRAME_SAMPLES)
    return {
        "video_minutes": frames / 25 / 60,
        "wall_minutes": (time.monotonic() - begun_s) / 60,
        "frames": frames,
        "chunks": chunks,
        "retries": retries,
        "misplaced_samples": misplaced,
        "digest": digest.hexdigest(),
    }


async def churn(client: FlashTalkClient, count: int, ended: Callable[[], None]) -> dict[str, int]:
    """Sessions that end in every way that there is; how many of each."""
    kinds = (_finished, _interrupted, _deleted, _left, _never_opened)
    done: Counter[str] = Counter()
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        kind = kinds[number % len(kinds)]
        async with room:
            session = await client.create_session(portrait(number), ttl_s=TTL_S, **_UNLIMITED)
            await kind(client, session)
            done[kind.__name__.strip("_")] += 1
            ended()

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))
    return dict(done)


async def _until_frame(stream: SessionStream, index: int) -> None:
    async for event in stream:
        if isinstance(event, stream_pb2.Frame) and event.frame_index >= index:
            return


async def _finished(client: FlashTalkClient, session: pb.Session) -> None:
    async with client.stream(session) as stream:
        await stream.push_audio(voice(0, PCM_HZ))
        await stream.finish()
        async for _ in stream:
            pass


async def _interrupted(client: FlashTalkClient, session: pb.Session) -> None:
    async with client.stream(session) as stream:
        await stream.push_audio(voice(0, 3 * PCM_HZ))
        await _until_frame(stream, 5)

        async def stop() -> None:
            await stream.interrupt(5)
            await stream.finish()

        async with asyncio.TaskGroup() as group:
            group.create_task(stop())
            async for _ in stream:
                pass


async def _deleted(client: FlashTalkClient, session: pb.Session) -> None:
    async with client.stream(session) as stream:
        await stream.push_audio(voice(0, 3 * PCM_HZ))
        await _until_frame(stream, 5)
        await client.delete_session(session.session_id)
        async for _ in stream:
            pass


async def _left(client: FlashTalkClient, session: pb.Session) -> None:
    async with client.stream(session) as stream:
        await stream.push_audio(voice(0, 3 * PCM_HZ))
        await _until_frame(stream, 5)


async def _never_opened(client: FlashTalkClient, session: pb.Session) -> None:
    return
