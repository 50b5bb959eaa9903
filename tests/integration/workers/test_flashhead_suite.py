"""Both FlashHead presets through the whole suite: the engine's frames, in the preset's numbers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from flashtalk.arrays import Frames
from flashtalk.engine import Pipeline, load_pipeline, talk
from flashtalk.media.image import decode_image
from flashtalk.models.checkpoint import Variant
from flashtalk.streaming import Pcm
from flashtalk.v1 import dit_worker_service_pb2 as dit_pb2
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2, worker_pb2
from flashtalk.wire import tensor_to_proto
from tests.fakes.flashhead import PRESETS, micro_flashhead, write_flashhead
from tests.integration.gateway.suite import (
    Gateway,
    creation,
    finish,
    gateway,
    memory_store,
    opened,
    portrait,
    run,
    send,
    watch,
    whole,
)
from tests.integration.gateway.watcher import Watcher
from tests.integration.workers.running import CALL_S, Running, audio_worker, dit_worker, vae_worker
from tests.tolerances import assert_frames

SIZE_HW = (64, 64)
VARIANTS: tuple[Variant, ...] = ("pro", "lite")
SHAPES = {"pro": (28, 16, 9, (8, 8)), "lite": (24, 12, 5, (2, 2))}
"""New frames, channels, latents and latent size of a chunk at micro size."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place: Path = tmp_path_factory.mktemp("published") / "flashhead"
    for variant in VARIANTS:
        write_flashhead(micro_flashhead(variant), place, variant)
    return place


def engine(variant: Variant, folder: Path) -> Pipeline:
    return load_pipeline(PRESETS[variant], folder, device="cpu", dtype="float32")


@contextlib.asynccontextmanager
async def suite(variant: Variant, folder: Path) -> AsyncIterator[tuple[Gateway, Running]]:
    own: dict[str, Any] = {"preset": PRESETS[variant], "sizes": "64x64", "dtype": "float32"}
    async with (
        audio_worker(folder, **own) as audio,
        dit_worker(folder, session_slots=9, **own) as dit,
        vae_worker(folder, **own) as vae,
        gateway(
            "unused:1",
            memory_store(),
            audio_encoders=audio.target,
            dit_workers=dit.target,
            vae_decoders=vae.target,
        ) as running,
    ):
        yield running, dit


def request(**fields: object) -> pb.CreateSessionRequest:
    """Without a prompt, which these presets refuse."""
    asked = creation(**fields)
    asked.prompt = ""
    return asked


def voice(samples: int) -> Pcm:
    return np.random.default_rng(3).normal(0, 0.1, samples).astype(np.float32)


def expected(pipeline: Pipeline, pcm_S: Pcm, seed: int) -> Frames:
    picture_HWC = decode_image(portrait(), "portrait", max_pixels=10_000)
    results = talk(pipeline, picture_HWC, [pcm_S], seed=seed, size_hw=SIZE_HW)
    return np.concatenate([result.frames_THWC for result in results])


def shown(seen: Watcher) -> Frames:
    return np.stack([np.frombuffer(data, np.uint8).reshape(*SIZE_HW, 3) for data in seen.video])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stream_has_the_frames_of_the_engine(variant: Variant, folder: Path) -> None:
    pipeline = engine(variant, folder)
    pcm_S = voice(2 * pipeline.spec.new_samples + 3 * 640)

    async def scenario() -> None:
        async with suite(variant, folder) as (running, _):
            made = await running.stub.CreateSession(request(request_id="spec"))
            assert made.session.spec.chunk_frames == SHAPES[variant][0]
            seen = await whole(running.stub, request(seed=7), pcm_S)
            wanted = await asyncio.to_thread(expected, pipeline, pcm_S, 7)
            assert_frames(shown(seen)[: len(wanted)], wanted)
            assert len(wanted) == 2 * SHAPES[variant][0] + 3

    run(scenario)


@pytest.mark.parametrize("variant", VARIANTS)
def test_speech_goes_on_after_an_interruption(variant: Variant, folder: Path) -> None:
    """Motion continues from the last frame shown, in the middle of a chunk."""
    pipeline = engine(variant, folder)
    new, chunk = pipeline.spec.new_frames, pipeline.spec.new_samples
    pcm_S = voice(3 * chunk)

    async def scenario() -> None:
        async with suite(variant, folder) as (running, _):
            made = await running.stub.CreateSession(request(seed=7))
            call, _ = await opened(running.stub, made.session.session_id)
            await send(call, pcm_S[: 2 * chunk], 0)
            seen = await watch(call, Watcher(), lambda w: len(w.chunks) == 2)
            cut = stream_pb2.Interrupt(interrupt_id="a", played_frames=new + 5)
            await call.write(stream_pb2.StreamRequest(interrupt=cut))
            await watch(call, seen, lambda w: bool(w.interrupted))
            assert seen.interrupted[0].played_frames == new + 5
            await send(call, pcm_S[2 * chunk :], seen.interrupted[0].input_samples)
            await finish(call)
            await watch(call, seen)
            assert len(seen.chunks) >= 3

    run(scenario)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_prompt_is_refused_before_anything_is_computed(variant: Variant, folder: Path) -> None:
    async def scenario() -> None:
        async with suite(variant, folder) as (running, dit):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await running.stub.CreateSession(creation(prompt="a robot"))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "prompt" in str(caught.value.details())
            made = await running.stub.CreateSession(request(seed=1))
            assert made.session.session_id

            info = await dit.stub.GetWorker(worker_pb2.GetWorkerRequest(), timeout=CALL_S)
            assert not info.accepts_prompt
            assert info.geometry.motion_frames == (5 if variant == "pro" else 9)

    run(scenario)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_worker_takes_conditionings_without_tokens_only(variant: Variant, folder: Path) -> None:
    _, channels, latents, (rows, columns) = SHAPES[variant]
    z = tensor_to_proto(np.zeros((1, channels, latents, rows, columns), np.float32))
    given = dit_pb2.Conditioning(digest="a" * 64, reference_latents=z)

    async def scenario() -> None:
        async with suite(variant, folder) as (_, dit):
            plain = dit_pb2.ConditionRequest(conditioning=given)
            kept = await dit.stub.Condition(plain, timeout=CALL_S)
            assert kept.conditioning == given
            tokens = tensor_to_proto(np.zeros((1, 5, 16), np.float32))
            plain.conditioning.image_tokens.CopyFrom(tokens)
            with pytest.raises(grpc.aio.AioRpcError, match=r"image_tokens.*portrait and speech"):
                await dit.stub.Condition(plain, timeout=CALL_S)

    run(scenario)
