"""A new prompt in mid-session with a real model: the engine's frames, before and after."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import numpy as np

from flashtalk.engine import Pipeline
from flashtalk.engine.talk import advance, start
from flashtalk.media.image import decode_image
from flashtalk.streaming import chunks
from flashtalk.v1 import stream_pb2
from tests.integration.gateway.suite import (
    SPEC,
    creation,
    finish,
    gateway,
    memory_store,
    opened,
    portrait,
    run,
    send,
    watch,
)
from tests.integration.gateway.watcher import Watcher
from tests.integration.workers.running import audio_worker, dit_worker, vae_worker
from tests.patience import until
from tests.tolerances import assert_frames

CHUNK = SPEC.new_samples
VOICE = np.random.default_rng(3).normal(0, 0.1, 4 * CHUNK).astype(np.float32)
FIRST, SECOND = "a person talks", "a robot in the snow"
SIZE_HW = (32, 48)


def frames_of_engine(pipeline: Pipeline, border: int) -> list[np.ndarray]:
    """Of a session whose conditioning is replaced before chunk ``border``."""
    picture_HWC = decode_image(portrait(), "portrait", max_pixels=10_000)
    session = start(pipeline, picture_HWC, prompt=FIRST, seed=7, size_hw=SIZE_HW)
    other = start(pipeline, picture_HWC, prompt=SECOND, seed=7, size_hw=SIZE_HW)
    frames: list[np.ndarray] = []
    for chunk in chunks([VOICE], pipeline.spec):
        if chunk.index == border:
            session = dataclasses.replace(session, conditioning=other.conditioning)
        result, session = advance(pipeline, session, chunk)
        frames.extend(result.frames_THWC)
    return frames


def test_the_frames_are_those_of_the_engine_also_on_a_worker_that_never_saw_the_prompt(
    weights: Path, pipeline: Pipeline
) -> None:
    """The DiT worker that encoded the prompt dies before the last chunk."""

    async def scenario() -> None:
        async with (
            audio_worker(weights) as audio,
            dit_worker(weights, session_slots=9) as one,
            dit_worker(weights, session_slots=9) as two,
            vae_worker(weights) as vae,
            gateway(
                "unused:1",
                memory_store(),
                audio_encoders=audio.target,
                dit_workers=f"{one.target},{two.target}",
                vae_decoders=vae.target,
            ) as running,
        ):
            made = await running.stub.CreateSession(creation(prompt=FIRST))
            call, _ = await opened(running.stub, made.session.session_id)
            await send(call, VOICE[: 2 * CHUNK], 0)
            seen = await watch(call, Watcher(), lambda w: len(w.chunks) == 2)
            update = stream_pb2.PromptUpdate(update_id="a", prompt=SECOND)
            await call.write(stream_pb2.StreamRequest(prompt_update=update))
            await watch(call, seen, lambda w: bool(w.updated))
            assert seen.updated[0].first_frame == 56
            await send(call, VOICE[2 * CHUNK : 3 * CHUNK], 2 * CHUNK)
            await watch(call, seen, lambda w: len(w.chunks) == 3)
            holder = await running.pool.holder(made.session.session_id, timeout_s=60)
            await next(each for each in (one, two) if each.target == holder.target).server.stop(0)
            await until(lambda: not holder.ready)
            await send(call, VOICE[3 * CHUNK :], 3 * CHUNK)
            await finish(call)
            await watch(call, seen)
            frames = [np.frombuffer(data, np.uint8).reshape(*SIZE_HW, 3) for data in seen.video]
            wanted = await asyncio.to_thread(frames_of_engine, pipeline, 2)
            assert_frames(np.stack(frames), np.stack(wanted))
            kept = await asyncio.to_thread(frames_of_engine, pipeline, 99)
            assert any((a != b).any() for a, b in zip(wanted[56:], kept[56:], strict=True))

    run(scenario)
