"""Each worker over real gRPC: the engine's bits, clear refusals, nothing kept of anybody."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import av
import grpc
import numpy as np
import pytest
import torch

from flashtalk.arrays import Frames, Rgb
from flashtalk.diffusion.color import ReferenceColor
from flashtalk.diffusion.state import DiffusionState
from flashtalk.engine import Pipeline
from flashtalk.serving.errors import Reason, field_of, reason_of
from flashtalk.streaming import Pcm
from flashtalk.v1 import audio_encoder_service_pb2 as audio_pb2
from flashtalk.v1 import dit_worker_service_pb2 as dit_pb2
from flashtalk.v1 import media_pb2, tensor_pb2, worker_pb2
from flashtalk.v1 import vae_decoder_service_pb2 as vae_pb2
from flashtalk.wire import image_to_proto, tensor_from_proto, tensor_to_proto
from tests.integration.workers.running import CALL_S, audio_worker, dit_worker, vae_worker
from tests.patience import patient, until

PORTRAIT = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
RAW, H264 = media_pb2.VIDEO_CODEC_RAW_RGB24, media_pb2.VIDEO_CODEC_H264


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(patient(200)):
            await scenario()

    asyncio.run(bounded())


def sound(seed: int) -> Pcm:
    return np.random.default_rng(seed).normal(0, 0.1, 128_000).astype(np.float32)


def key(session: str = "s", chunk: int = 0, epoch: int = 0) -> worker_pb2.ChunkKey:
    return worker_pb2.ChunkKey(session_id=session, chunk_index=chunk, epoch=epoch)


def array(message: tensor_pb2.Tensor) -> np.ndarray:
    return tensor_from_proto(message, field="x", shape=[None] * len(message.shape))


async def refused(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


async def decoded(stub: Any, **fields: Any) -> tuple[list[vae_pb2.DecodedFrame], Any]:
    frames, result = [], None
    async for response in stub.Decode(vae_pb2.DecodeRequest(**fields), timeout=CALL_S):
        if response.HasField("decoded"):
            frames.extend(response.decoded.frames)
        else:
            result = response.result
    return frames, result


def exhausted(stream: Generator[Frames, None, torch.Tensor]) -> tuple[list[Frames], torch.Tensor]:
    parts: list[Frames] = []
    while True:
        try:
            parts.append(next(stream))
        except StopIteration as end:
            motion: torch.Tensor = end.value
            return parts, motion


def test_frames_in_reverse_order(weights: Path, pipeline: Pipeline) -> None:
    """The same pictures, the last one first, in a group that begins with a keyframe."""

    async def scenario() -> None:
        async with vae_worker(weights) as here:
            shape = (1, 16, 9, 4, 6)
            z = np.random.default_rng(5).normal(size=shape).astype(np.float32)
            asked = {
                "key": key(),
                "latents": tensor_to_proto(z),
                "color": tensor_to_proto(np.ones((2, 3), np.float32)),
                "frames": 28,
            }
            forward, ahead = await decoded(here.stub, **asked, video_codec=RAW)
            backward, behind = await decoded(here.stub, **asked, video_codec=RAW, reverse=True)
            assert [frame.index for frame in backward] == list(range(28))
            assert [f.video for f in backward] == [f.video for f in reversed(forward)]
            assert ahead.motion_latents == behind.motion_latents
            units, _ = await decoded(here.stub, **asked, video_codec=H264, reverse=True)
            assert [frame.key_frame for frame in units] == [True] + 27 * [False]
            again, _ = await decoded(here.stub, **asked, video_codec=H264, reverse=True)
            assert [f.video for f in units] == [f.video for f in again]
            assert len(pictures_of(b"".join(frame.video for frame in units))) == 28

    run(scenario)


def pictures_of(data: bytes) -> list[Frames]:
    container: Any = av.open(io.BytesIO(data), format="h264")
    with container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_speech_of_many_sessions_is_each_sessions_own(weights: Path, pipeline: Pipeline) -> None:
    async def scenario() -> None:
        async with audio_worker(weights, batch_windows=4) as here:
            pcm = [sound(seed) for seed in range(9)]
            answers = await asyncio.gather(
                *(
                    here.stub.Encode(
                        audio_pb2.EncodeRequest(key=key(f"s{n}"), pcm=tensor_to_proto(pcm_S)),
                        timeout=CALL_S,
                    )
                    for n, pcm_S in enumerate(pcm)
                )
            )
            for pcm_S, answer in zip(pcm, answers, strict=True):
                alone = pipeline.audio.chunk_rows(pipeline.audio.features(pcm_S))
                np.testing.assert_array_equal(array(answer.features), alone.numpy())
                assert answer.compute_s > 0
            card = await here.stub.GetWorker(worker_pb2.GetWorkerRequest(), timeout=CALL_S)
            assert (card.role, card.preset, card.pending) == ("audio_encoder", "tiny", 0)
            assert len(card.weights_digest) == 64

    run(scenario)


def test_speech_that_cannot_be_used_is_refused_by_name(weights: Path) -> None:
    async def scenario() -> None:
        async with audio_worker(weights) as here:
            nan = sound(0)
            nan[7] = np.nan
            for pcm in (np.zeros(127_999, np.float32), nan, np.zeros(128_000, np.uint8)):
                request = audio_pb2.EncodeRequest(key=key(), pcm=tensor_to_proto(pcm))
                error = await refused(here.stub.Encode(request, timeout=CALL_S))
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
                assert field_of(error) == "pcm"
            old = audio_pb2.EncodeRequest(key=key(epoch=1), pcm=tensor_to_proto(sound(0)))
            new = audio_pb2.EncodeRequest(key=key(epoch=2), pcm=tensor_to_proto(sound(0)))
            await here.stub.Encode(new, timeout=CALL_S)
            error = await refused(here.stub.Encode(old, timeout=CALL_S))
            assert error.code() is grpc.StatusCode.ABORTED
            assert reason_of(error) is Reason.STALE_EPOCH

    run(scenario)


def test_nobody_is_served_before_the_warm_up(weights: Path) -> None:
    async def scenario() -> None:
        async with audio_worker(weights, start=False) as here:
            request = audio_pb2.EncodeRequest(key=key(), pcm=tensor_to_proto(sound(0)))
            for call in (
                here.stub.Encode(request, timeout=CALL_S),
                here.stub.GetWorker(worker_pb2.GetWorkerRequest(), timeout=CALL_S),
            ):
                error = await refused(call)
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                assert reason_of(error) is Reason.NOT_READY

    run(scenario)


def source(pipeline: Pipeline, portrait: Rgb = PORTRAIT) -> dit_pb2.PortraitSource:
    z = pipeline.codec.encode_reference(portrait).z_BCFHW.numpy()
    return dit_pb2.PortraitSource(
        portrait=image_to_proto(portrait), prompt="hello", reference_latents=tensor_to_proto(z)
    )


def denoising(pipeline: Pipeline, digest: str, *, chunk: int = 0) -> dit_pb2.DenoiseRequest:
    z = pipeline.codec.encode_reference(PORTRAIT).z_BCFHW[:, :, : 2 if chunk else 1].numpy()
    rows = pipeline.audio.chunk_rows(pipeline.audio.features(sound(3))).numpy()
    return dit_pb2.DenoiseRequest(
        key=key(chunk=chunk),
        seed=5,
        conditioning_digest=digest,
        features=tensor_to_proto(rows),
        motion_latents=tensor_to_proto(np.ascontiguousarray(z)),
    )


@pytest.mark.parametrize("chunk", [0, 3])
def test_latents_have_the_bits_of_the_engine(weights: Path, pipeline: Pipeline, chunk: int) -> None:
    async def scenario() -> None:
        async with dit_worker(weights) as here, dit_worker(weights) as other:
            made = await here.stub.Condition(
                dit_pb2.ConditionRequest(portrait=source(pipeline)), timeout=CALL_S
            )
            request = denoising(pipeline, made.conditioning.digest, chunk=chunk)
            answer = await here.stub.Denoise(request, timeout=CALL_S)
            reference = pipeline.codec.encode_reference(PORTRAIT)
            expected = pipeline.denoiser.denoise(
                pipeline.condition(PORTRAIT, reference, "hello"),
                pipeline.audio.encode(sound(3)),
                DiffusionState(
                    5, chunk, torch.from_numpy(array(request.motion_latents)), pipeline.spec
                ),
                pipeline.sampling,
            )
            np.testing.assert_array_equal(array(answer.latents), expected.numpy())
            # Another worker, which was sent what the first one made.
            error = await refused(other.stub.Denoise(request, timeout=CALL_S))
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert reason_of(error) is Reason.CONDITIONING_MISSING
            await other.stub.Condition(
                dit_pb2.ConditionRequest(conditioning=made.conditioning), timeout=CALL_S
            )
            again = await other.stub.Denoise(request, timeout=CALL_S)
            assert again.latents == answer.latents

    run(scenario)


def test_conditionings_beyond_the_memory_are_forgotten_oldest_first(
    weights: Path, pipeline: Pipeline
) -> None:
    async def scenario() -> None:
        async with dit_worker(weights, conditioning_bytes=2**20) as here:
            digests = []
            for seed in range(40):
                portrait = np.random.default_rng(seed).integers(0, 256, (32, 48, 3), np.uint8)
                request = dit_pb2.ConditionRequest(portrait=source(pipeline, portrait))
                made = await here.stub.Condition(request, timeout=CALL_S)
                digests.append(made.conditioning.digest)
            assert len(set(digests)) == 40
            rank = here.worker._loading.stage._leader.rank
            kept = [digest in rank.conditionings for digest in digests]
            assert 1 <= sum(kept) < 40
            assert rank.conditionings.bytes <= 2**20
            assert kept == sorted(kept)

    run(scenario)


def test_requests_that_do_not_fit_the_network_are_refused_by_name(
    weights: Path, pipeline: Pipeline
) -> None:
    async def scenario() -> None:
        async with dit_worker(weights) as here:
            made = await here.stub.Condition(
                dit_pb2.ConditionRequest(portrait=source(pipeline)), timeout=CALL_S
            )
            large = np.zeros((64, 64, 3), np.uint8)
            long = source(pipeline)
            long.prompt = "x" * 2_001
            two = denoising(pipeline, made.conditioning.digest, chunk=1)
            two.key.chunk_index = 0
            speech = denoising(pipeline, made.conditioning.digest)
            speech.features.CopyFrom(tensor_to_proto(np.zeros((34, 2, 8), np.float32)))
            name = dit_pb2.Conditioning(digest="../../etc/passwd")
            stub = here.stub
            for call, field in (
                (stub.Condition(dit_pb2.ConditionRequest(), timeout=CALL_S), "source"),
                (
                    stub.Condition(
                        dit_pb2.ConditionRequest(portrait=source(pipeline, large)), timeout=CALL_S
                    ),
                    "portrait.portrait.size",
                ),
                (
                    stub.Condition(dit_pb2.ConditionRequest(portrait=long), timeout=CALL_S),
                    "portrait.prompt",
                ),
                (
                    stub.Condition(dit_pb2.ConditionRequest(conditioning=name), timeout=CALL_S),
                    "conditioning.digest",
                ),
                (stub.Denoise(two, timeout=CALL_S), "motion_latents"),
                (stub.Denoise(speech, timeout=CALL_S), "features"),
            ):
                error = await refused(call)
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
                assert field_of(error) == field
            assert here.worker.lane.pending == 0

    run(scenario)


@pytest.mark.parametrize("frames", [1, 4, 27, 28])
def test_frames_and_motion_have_the_bits_of_the_engine(
    weights: Path, pipeline: Pipeline, frames: int
) -> None:
    async def scenario() -> None:
        async with vae_worker(weights) as here:
            answer = await here.stub.EncodeReference(
                vae_pb2.EncodeReferenceRequest(portrait=image_to_proto(PORTRAIT)), timeout=CALL_S
            )
            reference = pipeline.codec.encode_reference(PORTRAIT)
            np.testing.assert_array_equal(
                array(answer.reference_latents), reference.z_BCFHW.numpy()
            )
            color = ReferenceColor.from_array(array(answer.color))
            z = torch.randn(1, 16, 9, 4, 6)
            stream = pipeline.codec.stream(
                z, color, pipeline.sampling.color_strength, frames=frames
            )
            parts, motion = exhausted(stream)
            fields: dict[str, Any] = {
                "key": key(),
                "latents": tensor_to_proto(z.numpy()),
                "color": answer.color,
                "frames": frames,
            }
            got, result = await decoded(here.stub, video_codec=RAW, **fields)
            assert b"".join(f.video for f in got) == np.concatenate(parts).tobytes()
            assert [f.index for f in got] == list(range(frames))
            np.testing.assert_array_equal(array(result.motion_latents), motion.numpy())
            assert {"decode", "color", "encode", "motion"} == set(result.compute_s)
            only, result = await decoded(here.stub, motion_only=True, **fields)
            assert only == []
            np.testing.assert_array_equal(array(result.motion_latents), motion.numpy())
            got, _ = await decoded(here.stub, video_codec=H264, **fields)
            assert [f.key_frame for f in got] == [True] + [False] * (frames - 1)
            pictures = pictures_of(b"".join(f.video for f in got))
            assert len(pictures) == frames
            # Colour is stored at half the size, and these frames are noise: look at the luma.
            luma = np.array([0.2126, 0.7152, 0.0722])
            error = np.abs((np.stack(pictures).astype(float) - np.concatenate(parts)) @ luma)
            assert error.mean() < 12

    run(scenario)


def test_latents_that_cannot_be_decoded_are_refused_by_name(weights: Path) -> None:
    async def scenario() -> None:
        async with vae_worker(weights) as here:
            color = tensor_to_proto(np.ones((2, 3), np.float32))
            good = tensor_to_proto(np.zeros((1, 16, 9, 4, 6), np.float32))
            wide = tensor_to_proto(np.zeros((1, 16, 9, 4, 8), np.float32))
            short = tensor_to_proto(np.zeros((1, 16, 8, 4, 6), np.float32))
            negative = tensor_to_proto(-np.ones((2, 3), np.float32))
            for field, fields in (
                ("latents", {"latents": wide, "color": color, "frames": 28}),
                ("latents", {"latents": short, "color": color, "frames": 28}),
                ("color", {"latents": good, "frames": 28}),
                ("color", {"latents": good, "color": negative, "frames": 28}),
                ("frames", {"latents": good, "color": color, "frames": 29}),
                ("frames", {"latents": good, "color": color}),
                ("video_codec", {"latents": good, "color": color, "frames": 1, "video_codec": 9}),
            ):
                error = await refused(decoded(here.stub, key=key(), **fields))
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
                assert field_of(error) == field
            assert here.worker.lane.pending == 0

    run(scenario)


def test_a_caller_that_leaves_frees_the_worker(weights: Path) -> None:
    async def scenario() -> None:
        async with vae_worker(weights) as here:
            request = vae_pb2.DecodeRequest(
                key=key(),
                latents=tensor_to_proto(np.zeros((1, 16, 9, 4, 6), np.float32)),
                color=tensor_to_proto(np.ones((2, 3), np.float32)),
                frames=28,
                video_codec=RAW,
            )
            for _ in range(5):
                call = here.stub.Decode(request, timeout=CALL_S)
                assert (await call.read()).decoded.frames[0].index == 0
                call.cancel()
            await until(lambda: not here.worker.lane.pending)
            frames, _ = await decoded(
                here.stub,
                key=key(),
                latents=request.latents,
                color=request.color,
                frames=2,
                video_codec=RAW,
            )
            assert len(frames) == 2

    run(scenario)


def test_a_worker_with_wrong_settings_says_what_is_wrong(tmp_path: Path) -> None:
    from flashtalk.errors import FlashTalkError
    from services.audio_encoder.settings import AudioEncoderSettings

    for text, hw in (("64x96", ((96, 64),)), ("64X96, 128x128", ((96, 64), (128, 128)))):
        assert AudioEncoderSettings(sizes=text).sizes_hw((1, 1)) == hw
    assert AudioEncoderSettings().sizes_hw((3, 4)) == ((3, 4),)
    for text in ("64", "ax9", "0x16", "64x96x2"):
        with pytest.raises(FlashTalkError, match="sizes"):
            AudioEncoderSettings(sizes=text).sizes_hw((1, 1))
