"""Tensors and pictures that are not what they say: a typed refusal, and the worker goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np

from flashtalk.engine import Pipeline
from flashtalk.serving.errors import Reason, field_of, reason_of
from flashtalk.v1 import audio_encoder_service_pb2 as audio_pb2
from flashtalk.v1 import dit_worker_service_pb2 as dit_pb2
from flashtalk.v1 import media_pb2, tensor_pb2
from flashtalk.v1 import vae_decoder_service_pb2 as vae_pb2
from flashtalk.wire import image_to_proto, tensor_to_proto
from tests.integration.workers.lies import all_refused, lies, pictures
from tests.integration.workers.running import CALL_S, audio_worker, dit_worker, vae_worker
from tests.integration.workers.test_workers import (
    PORTRAIT,
    RAW,
    decoded,
    denoising,
    key,
    refused,
    run,
    sound,
    source,
)

MOTION, REFERENCE = [1, 16, 1, 4, 6], [1, 16, 9, 4, 6]


def test_windows_of_speech(weights: Path) -> None:
    async def scenario() -> None:
        async with audio_worker(weights) as here:

            async def encode(pcm: tensor_pb2.Tensor) -> Any:
                return await here.stub.Encode(
                    audio_pb2.EncodeRequest(key=key(), pcm=pcm), timeout=CALL_S
                )

            async def good() -> bytes:
                answer = await encode(tensor_to_proto(sound(0)))
                return bytes(answer.features.SerializeToString())

            wrong = [(name, encode(pcm), "pcm") for name, pcm in lies([128_000])]
            await all_refused(wrong, good, lambda: here.worker.lane.pending)

    run(scenario)


def test_features_and_motion_of_a_chunk(weights: Path, pipeline: Pipeline) -> None:
    async def scenario() -> None:
        async with dit_worker(weights) as here:
            made = await here.stub.Condition(
                dit_pb2.ConditionRequest(portrait=source(pipeline)), timeout=CALL_S
            )
            kept = denoising(pipeline, made.conditioning.digest)
            features = list(kept.features.shape)

            async def denoise(**changed: Any) -> Any:
                request = dit_pb2.DenoiseRequest()
                request.CopyFrom(kept)
                for name, value in changed.items():
                    getattr(request, name).CopyFrom(value)
                return await here.stub.Denoise(request, timeout=CALL_S)

            async def good() -> bytes:
                return bytes((await denoise()).latents.data)

            unserved = tensor_to_proto(np.zeros((1, 16, 1, 6, 4), np.float32))
            wrong = [
                *((n, denoise(features=t), "features") for n, t in lies(features)),
                *((n, denoise(motion_latents=t), "motion_latents") for n, t in lies(MOTION)),
                ("turned", denoise(motion_latents=unserved), "motion_latents"),
                ("one latent later", denoise(key=key(chunk=1)), "motion_latents"),
            ]
            await all_refused(wrong, good, lambda: here.worker.lane.pending)

    run(scenario)


def test_portraits_and_conditionings(weights: Path, pipeline: Pipeline) -> None:
    async def scenario() -> None:
        async with dit_worker(weights) as here:
            portrait = source(pipeline)
            made = await here.stub.Condition(
                dit_pb2.ConditionRequest(portrait=portrait), timeout=CALL_S
            )
            kept = made.conditioning

            async def condition(**changed: Any) -> Any:
                given = dit_pb2.Conditioning()
                given.CopyFrom(kept)
                given.digest = "f" * 64
                for name, value in changed.items():
                    getattr(given, name).CopyFrom(value)
                return await here.stub.Condition(
                    dit_pb2.ConditionRequest(conditioning=given), timeout=CALL_S
                )

            async def embed(**changed: Any) -> Any:
                given = dit_pb2.PortraitSource()
                given.CopyFrom(portrait)
                for name, value in changed.items():
                    getattr(given, name).CopyFrom(value)
                return await here.stub.Condition(
                    dit_pb2.ConditionRequest(portrait=given), timeout=CALL_S
                )

            async def good() -> bytes:
                answer = await here.stub.Denoise(denoising(pipeline, kept.digest), timeout=CALL_S)
                return bytes(answer.latents.data)

            image, text = list(kept.image_tokens.shape), list(kept.text_tokens.shape)
            narrow = tensor_to_proto(np.zeros((1, image[1], image[2] - 1), np.float32))
            wide = tensor_to_proto(np.zeros((1, text[1], text[2] + 1), np.float32))
            fewer = tensor_to_proto(np.zeros((1, image[1] + 1, image[2]), np.float32))
            head = "conditioning."
            wrong = [
                *((n, condition(image_tokens=t), f"{head}image_tokens") for n, t in lies(image)),
                *((n, condition(text_tokens=t), f"{head}text_tokens") for n, t in lies(text)),
                *(
                    (n, condition(reference_latents=t), f"{head}reference_latents")
                    for n, t in lies(REFERENCE)
                ),
                *(
                    (n, embed(reference_latents=t), "portrait.reference_latents")
                    for n, t in lies(REFERENCE)
                ),
                *((n, embed(portrait=p), f"portrait.portrait.{f}") for n, p, f in pictures()),
                ("narrow image tokens", condition(image_tokens=narrow), f"{head}image_tokens"),
                ("other image tokens", condition(image_tokens=fewer), f"{head}image_tokens"),
                ("wide text tokens", condition(text_tokens=wide), f"{head}text_tokens"),
            ]
            await all_refused(wrong, good, lambda: here.worker.lane.pending)

    run(scenario)


def test_latents_and_colours(weights: Path) -> None:
    async def scenario() -> None:
        async with vae_worker(weights) as here:
            z = np.random.default_rng(0).standard_normal(REFERENCE, dtype=np.float32)
            kept: dict[str, Any] = {
                "key": key(),
                "frames": 3,
                "video_codec": RAW,
                "latents": tensor_to_proto(z),
                "color": tensor_to_proto(np.ones((2, 3), np.float32)),
            }

            def decode(**changed: Any) -> Any:
                return decoded(here.stub, **{**kept, **changed})

            async def encode(portrait: media_pb2.RgbImage) -> Any:
                request = vae_pb2.EncodeReferenceRequest(portrait=portrait)
                return await here.stub.EncodeReference(request, timeout=CALL_S)

            async def good() -> tuple[list[bytes], bytes, bytes]:
                frames, result = await decode()
                reference = await encode(image_to_proto(PORTRAIT))
                pixels = [frame.video for frame in frames]
                return pixels, result.motion_latents.data, reference.reference_latents.data

            wrong = [
                *((n, decode(latents=t), "latents") for n, t in lies(REFERENCE)),
                *((n, decode(color=t), "color") for n, t in lies([2, 3])),
                *((n, decode(latents=t, motion_only=True), "latents") for n, t in lies(REFERENCE)),
                *((n, encode(p), f"portrait.{f}") for n, p, f in pictures()),
                ("all frames", decode(frames=2**32 - 1), "frames"),
                ("no frames", decode(frames=0, motion_only=True), "frames"),
                ("codec -1", decode(video_codec=-1), "video_codec"),
            ]
            await all_refused(wrong, good, lambda: here.worker.lane.pending)

    run(scenario)


def test_a_stale_epoch_and_a_conditioning_that_is_not_there(
    weights: Path, pipeline: Pipeline
) -> None:
    async def scenario() -> None:
        async with dit_worker(weights) as here, vae_worker(weights) as decoder:
            made = await here.stub.Condition(
                dit_pb2.ConditionRequest(portrait=source(pipeline)), timeout=CALL_S
            )
            request = denoising(pipeline, made.conditioning.digest)
            request.key.epoch = 3
            first = await here.stub.Denoise(request, timeout=CALL_S)
            z = {
                "latents": first.latents,
                "color": tensor_to_proto(np.ones((2, 3), np.float32)),
                "frames": 1,
                "video_codec": RAW,
            }
            await decoded(decoder.stub, key=key(epoch=3), **z)
            request.key.epoch = 2
            for call in (
                here.stub.Denoise(request, timeout=CALL_S),
                decoded(decoder.stub, key=key(epoch=2), **z),
            ):
                error = await refused(call)
                assert error.code() is grpc.StatusCode.ABORTED
                assert reason_of(error) is Reason.STALE_EPOCH
                assert "epoch 2 " in (error.details() or "")
                assert field_of(error) is None
            # Somebody else's epochs are their own.
            await decoded(decoder.stub, key=key("other", epoch=0), **z)
            request.key.epoch = 3
            for digest in ("", "0" * 64, made.conditioning.digest.upper(), "x" * 100_000):
                request.conditioning_digest = digest
                error = await refused(here.stub.Denoise(request, timeout=CALL_S))
                assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
                assert reason_of(error) is Reason.CONDITIONING_MISSING
                assert digest[:12] in (error.details() or "")
            request.conditioning_digest = made.conditioning.digest
            again = await here.stub.Denoise(request, timeout=CALL_S)
            assert again.latents == first.latents
            assert here.worker.lane.pending == decoder.worker.lane.pending == 0

    run(scenario)
