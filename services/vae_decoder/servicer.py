"""The calls of the VAE decoder.

Frames are sent as they are decoded: while the device decodes later latents, another thread encodes
H.264.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc
import numpy as np

from flashtalk.arrays import FloatArray, Frames
from flashtalk.errors import InputError
from flashtalk.media.h264 import ChunkEncoder
from flashtalk.serving import metrics
from flashtalk.serving.epochs import EpochGuard
from flashtalk.serving.lane import ComputeLane, Last
from flashtalk.serving.worker import WorkerCard, deadline_s
from flashtalk.v1 import media_pb2, worker_pb2
from flashtalk.v1 import vae_decoder_service_pb2 as pb
from flashtalk.v1 import vae_decoder_service_pb2_grpc as pb_grpc
from flashtalk.wire import image_from_proto, tensor_from_proto, tensor_to_proto
from services.compute_worker import Loading, Register
from services.vae_decoder.stage import CodecStage, Decoded

SERVICE = pb.DESCRIPTOR.services_by_name["VaeDecoderService"].full_name
_H264 = (media_pb2.VIDEO_CODEC_H264, media_pb2.VIDEO_CODEC_UNSPECIFIED)
_RAW = media_pb2.VIDEO_CODEC_RAW_RGB24


def registering(loading: Loading[CodecStage]) -> Register:
    """Returns the function that adds the service of a stage to a server."""

    def register(server: grpc.aio.Server, lane: ComputeLane, card: WorkerCard) -> str:
        servicer = VaeServicer(loading, lane, card)
        pb_grpc.add_VaeDecoderServiceServicer_to_server(servicer, server)
        return SERVICE

    return register


class VaeServicer(pb_grpc.VaeDecoderServiceServicer):
    """Serves calls; the only state of a session is its epoch."""

    def __init__(self, loading: Loading[CodecStage], lane: ComputeLane, card: WorkerCard) -> None:
        self._loading, self._lane, self._card = loading, lane, card
        self._epochs = EpochGuard()

    async def EncodeReference(
        self, request: pb.EncodeReferenceRequest, context: Any
    ) -> pb.EncodeReferenceResponse:
        """Returns latents and colours of a portrait; INVALID_ARGUMENT for an invalid picture."""
        self._card.check_ready()
        portrait_HWC = image_from_proto(request.portrait, "portrait")
        self._card.check_size("portrait.size", portrait_HWC.shape[:2])
        work = partial(self._loading.stage.encode_reference, portrait_HWC)
        reference = await self._lane.run(lambda _: work(), deadline_s(context))
        return pb.EncodeReferenceResponse(
            reference_latents=tensor_to_proto(reference.z_BCFHW.float().cpu().numpy()),
            color=tensor_to_proto(reference.color.to_array()),
        )

    async def Decode(
        self, request: pb.DecodeRequest, context: Any
    ) -> AsyncIterator[pb.DecodeResponse]:
        """Sends frames of a chunk in parts, and at the end its motion latents."""
        self._card.check_ready()
        self._epochs.check(request.key)
        z_BCFHW, color, size_hw = self._checked(request)
        until_s = deadline_s(context)
        if request.motion_only:
            make_motion = partial(self._loading.stage.motion, z_BCFHW, color, request.frames)
            yield _result(await self._lane.run(lambda _: make_motion(), until_s), {})
            return
        decode = partial(self._loading.stage.decode, z_BCFHW, color, request.frames)
        writer = FrameWriter(request.video_codec, size_hw, self._loading.stage.spec.fps)
        shown: list[Frames] = []
        async with aclosing(self._lane.stream(lambda _: decode(), until_s)) as parts:
            async for part in parts:
                if request.reverse and not isinstance(part, Last):
                    shown.append(part)
                    continue
                if isinstance(part, Last):
                    if shown:
                        frames = await asyncio.to_thread(writer.write, _reversed(shown))
                        yield pb.DecodeResponse(decoded=pb.DecodedFrames(frames=frames))
                    metrics.WORKER_STAGE_SECONDS.labels("encode").observe(writer.seconds)
                    yield _result(part.value, {"encode": writer.seconds})
                    return
                frames = await asyncio.to_thread(writer.write, part)
                yield pb.DecodeResponse(decoded=pb.DecodedFrames(frames=frames))

    async def GetWorker(
        self, request: worker_pb2.GetWorkerRequest, context: Any
    ) -> worker_pb2.GetWorkerResponse:
        """Returns the description and the load of this worker."""
        self._card.check_ready()
        return self._card.describe(self._lane.pending)

    def _checked(self, request: pb.DecodeRequest) -> tuple[FloatArray, FloatArray, tuple[int, int]]:
        """Returns latents, colours and video size. Raises InputError for an invalid request."""
        spec = self._loading.stage.spec
        if request.video_codec not in (*_H264, _RAW):
            raise InputError("video_codec", request.video_codec, "must be H264 or RAW_RGB24")
        if not 1 <= request.frames <= spec.new_frames:
            raise InputError("frames", request.frames, f"1 to {spec.new_frames}")
        shape = (1, spec.latent_channels, spec.latent_frames, None, None)
        z_BCFHW = tensor_from_proto(request.latents, field="latents", shape=shape)
        size_hw = (z_BCFHW.shape[3] * spec.vae_stride_hw, z_BCFHW.shape[4] * spec.vae_stride_hw)
        self._card.check_size("latents", size_hw)
        color = tensor_from_proto(request.color, field="color", shape=(2, 3))
        if (color[1] < 0).any():
            raise InputError("color", color[1].tolist(), "deviations must be at least 0")
        return z_BCFHW, color, size_hw


class FrameWriter:
    """Encodes the pictures of one chunk with a codec.

    Args:
        codec: value of ``VideoCodec``.
        size_hw: height and width of the pictures in pixels.
        fps: frames per second.
    """

    def __init__(self, codec: int, size_hw: tuple[int, int], fps: int) -> None:
        self._encoder = ChunkEncoder(size_hw=size_hw, fps=fps) if codec in _H264 else None
        self._count = 0
        self.seconds = 0.0

    def write(self, frames_THWC: Frames) -> list[pb.DecodedFrame]:
        """Encodes the next frames, uint8 [T, H, W, 3]."""
        begun_s = time.perf_counter()
        written = []
        for rgb_HWC in frames_THWC:
            raw = self._encoder is None
            video = rgb_HWC.tobytes() if self._encoder is None else self._encoder.encode(rgb_HWC)
            frame = pb.DecodedFrame(
                index=self._count, video=video, key_frame=raw or self._count == 0
            )
            written.append(frame)
            self._count += 1
        self.seconds += time.perf_counter() - begun_s
        return written


def _reversed(parts: list[Frames]) -> Frames:
    """Returns all frames, uint8 [T, H, W, 3], the last one first."""
    return np.ascontiguousarray(np.concatenate(parts)[::-1])


def _result(decoded: Decoded, more_s: dict[str, float]) -> pb.DecodeResponse:
    return pb.DecodeResponse(
        result=pb.DecodeResult(
            motion_latents=tensor_to_proto(decoded.motion_z),
            compute_s={**decoded.seconds, **more_s},
        )
    )
