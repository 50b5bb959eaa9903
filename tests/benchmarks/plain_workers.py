"""``python -m tests.benchmarks.plain_workers``: stand-in workers that cost as little as they can.

They take the times that they are told and give every chunk the same answers, serialised once. What
they are asked is read only where the answer's size depends on it. So a machine of few cores can
load one gateway as a room of GPUs would. Answers that differ are ``tests.fakes.stand_in_workers``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import numpy as np

from flashtalk.serving.channel import ChannelLimits
from flashtalk.v1 import audio_encoder_service_pb2 as audio_pb2
from flashtalk.v1 import dit_worker_service_pb2 as dit_pb2
from flashtalk.v1 import media_pb2
from flashtalk.v1 import vae_decoder_service_pb2 as vae_pb2
from flashtalk.wire import tensor_to_proto
from flashtalk.wire.splice import as_sent
from tests.fakes.stand_in_workers import (
    CHUNK_FRAMES,
    LATENT_FRAMES,
    MOTION_LATENTS,
    StandIn,
    Workers,
    add_health,
    serve_stand_ins,
)

_PARTS = (range(4), range(4, CHUNK_FRAMES))


class PlainWorkers:
    """The calls of every chunk; the others are those of ``Workers``."""

    def __init__(self, stand_in: StandIn, worker_id: str) -> None:
        self._stand_in, self._others = stand_in, Workers(stand_in, worker_id)
        features = tensor_to_proto(np.zeros(stand_in.features, np.float32))
        self._features = audio_pb2.EncodeResponse(
            features=features, compute_s=stand_in.audio_s
        ).SerializeToString()
        self._latents = dit_pb2.DenoiseResponse(
            latents=stand_in.latent(LATENT_FRAMES), compute_s=stand_in.denoise_s
        ).SerializeToString()
        self._frames = [self._decoded(part) for part in _PARTS]
        result = vae_pb2.DecodeResult(motion_latents=stand_in.latent(MOTION_LATENTS))
        result.compute_s["decode"] = stand_in.decode_s + stand_in.motion_s
        self._result = vae_pb2.DecodeResponse(result=result).SerializeToString()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serves all three services."""
        others, unary = self._others, grpc.unary_unary_rpc_method_handler
        reference, condition = vae_pb2.EncodeReferenceRequest, dit_pb2.ConditionRequest
        called: dict[str, dict[str, Any]] = {
            "AudioEncoderService": {"Encode": unary(self.encode)},
            "DitWorkerService": {
                "Denoise": unary(self.denoise),
                "Condition": unary(others.Condition, condition.FromString, as_sent),
            },
            "VaeDecoderService": {
                "Decode": grpc.unary_stream_rpc_method_handler(
                    self.decode, vae_pb2.DecodeRequest.FromString
                ),
                "EncodeReference": unary(others.EncodeReference, reference.FromString, as_sent),
            },
        }
        for service, methods in called.items():
            methods["GetWorker"] = unary(others.GetWorker, None, as_sent)
            name = f"flashtalk.v1.{service}"
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))

    async def encode(self, request: bytes, context: Any) -> bytes:
        """Of AudioEncoderService."""
        await asyncio.sleep(self._stand_in.audio_s)
        return self._features

    async def denoise(self, request: bytes, context: Any) -> bytes:
        """Of DitWorkerService."""
        await asyncio.sleep(self._stand_in.denoise_s)
        return self._latents

    async def decode(self, request: vae_pb2.DecodeRequest, context: Any) -> AsyncIterator[bytes]:
        """Of VaeDecoderService."""
        for part, made in zip(_PARTS, self._frames, strict=True):
            count = min(part.stop, request.frames) - part.start
            if count <= 0 or request.motion_only:
                continue
            await asyncio.sleep(self._stand_in.decode_s * count / CHUNK_FRAMES)
            yield made if count == len(part) else self._decoded(part[:count])
        await asyncio.sleep(self._stand_in.motion_s)
        yield self._result

    def _decoded(self, part: range) -> bytes:
        frames = [
            vae_pb2.DecodedFrame(
                index=index,
                video=self._stand_in.frame(media_pb2.VIDEO_CODEC_H264, b"", index),
                key_frame=index == 0,
            )
            for index in part
        ]
        decoded = vae_pb2.DecodedFrames(frames=frames)
        return vae_pb2.DecodeResponse(decoded=decoded).SerializeToString()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is asked to stop; arguments are those of the stand-ins."""

    async def add(server: grpc.aio.Server, stand_in: StandIn, worker_id: str) -> None:
        PlainWorkers(stand_in, worker_id).add_to(server)
        await add_health(server)

    serve_stand_ins(add, ChannelLimits().server_options(), arguments)


if __name__ == "__main__":
    main()
