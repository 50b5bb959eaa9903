"""``python -m tests.fakes.stand_in_workers``: the three workers in one process, without a model.

They take as long as they are told, without computing, and answer with bytes that are a function of
everything that a real worker's answer depends on: speech, motion, seed, chunk, conditioning. So the
gateway can be loaded and disturbed for hours at no cost, and a lost, doubled or mixed-up frame
shows. In a test they can be held at any stage of any chunk (``Gate``).
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import hashlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from flashtalk.serving.port_file import write_port
from flashtalk.v1 import (
    audio_encoder_service_pb2 as audio_pb2,
)
from flashtalk.v1 import (
    audio_encoder_service_pb2_grpc as audio_grpc,
)
from flashtalk.v1 import (
    dit_worker_service_pb2 as dit_pb2,
)
from flashtalk.v1 import (
    dit_worker_service_pb2_grpc as dit_grpc,
)
from flashtalk.v1 import (
    media_pb2,
    tensor_pb2,
    worker_pb2,
)
from flashtalk.v1 import (
    vae_decoder_service_pb2 as vae_pb2,
)
from flashtalk.v1 import (
    vae_decoder_service_pb2_grpc as vae_grpc,
)
from flashtalk.wire import tensor_to_proto

_MESSAGE_BYTES = 64 * 2**20
CHUNK_FRAMES, LATENT_FRAMES, MOTION_LATENTS, CHANNELS = 28, 9, 2, 16
_PART_FRAMES = (4, 24)  # a decoder sends the first of them at once

Add = Callable[[grpc.aio.Server, "StandIn", str], Awaitable[object]]
Options = Sequence[tuple[str, int]]


@dataclass(frozen=True)
class StandIn:
    """How the workers behave.

    Args:
        size_hw: of the video in pixels.
        audio_s, denoise_s, decode_s, motion_s: how long each stage takes.
        frame_bytes: of an access unit.
        features: shape of the speech features [frames, layers, width].
        slots: sessions that the DiT worker says it keeps.
        half_decodes: so many times decoding ends in order after four frames, without a result.
        accepts_prompt, weights_digest: what the workers say of their weights.
    """

    size_hw: tuple[int, int] = (64, 64)
    audio_s: float = 0.0
    denoise_s: float = 0.0
    decode_s: float = 0.0
    motion_s: float = 0.0
    frame_bytes: int = 400
    features: tuple[int, int, int] = (35, 2, 8)
    slots: int = 1_000
    half_decodes: int = 0
    accepts_prompt: bool = True
    weights_digest: str = "0" * 64

    @property
    def chunk_s(self) -> float:
        """Seconds of all stages."""
        return self.audio_s + self.denoise_s + self.decode_s + self.motion_s

    def latent(self, frames: int, *parts: bytes) -> tensor_pb2.Tensor:
        """[1, 16, frames, h, w] drawn from a digest of ``parts``."""
        seed = int.from_bytes(hashlib.sha256(b"|".join(parts)).digest()[:8], "little")
        shape = (1, CHANNELS, frames, self.size_hw[0] // 8, self.size_hw[1] // 8)
        row = np.random.default_rng(seed).standard_normal(64, dtype=np.float32)
        return tensor_to_proto(np.resize(row, shape))

    def frame(self, codec: int, latents: bytes, index: int) -> bytes:
        """A frame that nobody else's latents give."""
        raw = codec == media_pb2.VIDEO_CODEC_RAW_RGB24
        size = self.size_hw[0] * self.size_hw[1] * 3 if raw else self.frame_bytes
        name = hashlib.sha256(latents + index.to_bytes(4, "little")).digest()
        return (name * (size // len(name) + 1))[:size]


STAGES = ("audio", "denoise", "decode", "half", "motion")
"""Moments of a chunk: at the beginning of each stage, between the two parts of its frames
(``half``), and when all frames have left and the rest has not (``motion``)."""


class Gate:
    """Nothing goes beyond one moment of one chunk before the gate is opened.

    Attributes:
        who: the workers that came to it first, once ``reached`` is set.
    """

    def __init__(self, stage: str, chunk_index: int, *watched: Workers) -> None:
        self._place = (chunk_index, STAGES.index(stage))
        self.reached, self._open = asyncio.Event(), asyncio.Event()
        self.who: Workers | None = None
        for workers in watched:
            workers.at_stage = self._pass

    async def _pass(self, workers: Workers, stage: str, chunk_index: int) -> None:
        if (chunk_index, STAGES.index(stage)) < self._place or self._open.is_set():
            return
        self.who = self.who or workers
        self.reached.set()
        await self._open.wait()

    def open(self) -> None:
        """From now on nobody is held."""
        self._open.set()


async def _goes_on(workers: Workers, stage: str, chunk_index: int) -> None:
    """Nobody is held."""


async def _conditions(prompt: str) -> None:
    """Nobody is held."""


class Workers(
    audio_grpc.AudioEncoderServiceServicer,
    dit_grpc.DitWorkerServiceServicer,
    vae_grpc.VaeDecoderServiceServicer,
):
    """All three services; one object may serve them all, since every method has its own name."""

    def __init__(self, stand_in: StandIn, worker_id: str) -> None:
        self.stand_in = stand_in
        self.worker_id = worker_id
        self.half_left = stand_in.half_decodes
        self.at_stage: Callable[[Workers, str, int], Awaitable[None]] = _goes_on
        """Awaited at each moment of ``STAGES``, with the index of the chunk."""
        self.at_prompt: Callable[[str], Awaitable[None]] = _conditions
        """Awaited before each conditioning, with its prompt."""
        self.denoised: list[int] = []
        """Chunks of all Denoise calls."""
        self.time_left_s: dict[str, float] = {}
        """Of the newest Denoise call of each session."""
        self.calls: collections.Counter[str] = collections.Counter()
        """Number of calls by stage of a chunk."""

    async def GetWorker(
        self, request: worker_pb2.GetWorkerRequest, context: Any
    ) -> worker_pb2.GetWorkerResponse:
        stand_in = self.stand_in
        size = media_pb2.VideoSize(width_px=stand_in.size_hw[1], height_px=stand_in.size_hw[0])
        return worker_pb2.GetWorkerResponse(
            worker_id=self.worker_id,
            role="stand_in",
            preset="stand-in",
            weights_digest=stand_in.weights_digest,
            sizes=[size],
            session_slots=stand_in.slots,
            # A gateway adds those of the three roles.
            chunk_s=stand_in.chunk_s / 3,
            default_prompt="somebody speaks",
            accepts_prompt=stand_in.accepts_prompt,
        )

    async def Encode(self, request: audio_pb2.EncodeRequest, context: Any) -> Any:
        self.calls["audio"] += 1
        await self.at_stage(self, "audio", request.key.chunk_index)
        await asyncio.sleep(self.stand_in.audio_s)
        name = np.frombuffer(hashlib.sha256(request.pcm.data).digest(), np.uint8)
        features = np.resize(name.astype(np.float32), self.stand_in.features)
        return audio_pb2.EncodeResponse(
            features=tensor_to_proto(features), compute_s=self.stand_in.audio_s
        )

    async def EncodeReference(
        self, request: vae_pb2.EncodeReferenceRequest, context: Any
    ) -> vae_pb2.EncodeReferenceResponse:
        latents = self.stand_in.latent(LATENT_FRAMES, request.portrait.rgb)
        color = tensor_to_proto(np.ones((2, 3), np.float32))
        return vae_pb2.EncodeReferenceResponse(reference_latents=latents, color=color)

    async def Condition(
        self, request: dit_pb2.ConditionRequest, context: Any
    ) -> dit_pb2.ConditionResponse:
        if request.HasField("conditioning"):
            return dit_pb2.ConditionResponse(conditioning=request.conditioning)
        source = request.portrait
        await self.at_prompt(source.prompt)
        named = hashlib.sha256(source.portrait.rgb + source.prompt.encode()).hexdigest()
        tokens = tensor_to_proto(np.ones((1, 4, 8), np.float32))
        return dit_pb2.ConditionResponse(
            conditioning=dit_pb2.Conditioning(
                digest=named,
                image_tokens=tokens,
                text_tokens=tokens,
                reference_latents=source.reference_latents,
            )
        )

    async def Denoise(
        self, request: dit_pb2.DenoiseRequest, context: Any
    ) -> dit_pb2.DenoiseResponse:
        self.time_left_s[request.key.session_id] = context.time_remaining()
        self.denoised.append(request.key.chunk_index)
        self.calls["denoise"] += 1
        await self.at_stage(self, "denoise", request.key.chunk_index)
        await asyncio.sleep(self.stand_in.denoise_s)
        latents = self.stand_in.latent(
            LATENT_FRAMES,
            request.seed.to_bytes(8, "little"),
            request.key.chunk_index.to_bytes(8, "little"),
            request.conditioning_digest.encode(),
            request.features.data,
            request.motion_latents.data,
        )
        return dit_pb2.DenoiseResponse(latents=latents, compute_s=self.stand_in.denoise_s)

    async def Decode(
        self, request: vae_pb2.DecodeRequest, context: Any
    ) -> AsyncIterator[vae_pb2.DecodeResponse]:
        stand_in = self.stand_in
        latents = hashlib.sha256(request.latents.data).digest()
        self.calls["decode"] += 1
        first = 0
        for count in _PART_FRAMES:
            if first and self.half_left:
                self.half_left -= 1
                return
            await self.at_stage(self, "half" if first else "decode", request.key.chunk_index)
            last = min(first + count, request.frames)
            await asyncio.sleep(stand_in.decode_s * (last - first) / CHUNK_FRAMES)
            if last > first and not request.motion_only:
                frames = [
                    vae_pb2.DecodedFrame(
                        index=index,
                        video=stand_in.frame(
                            request.video_codec,
                            latents,
                            request.frames - 1 - index if request.reverse else index,
                        ),
                        key_frame=index == 0,
                    )
                    for index in range(first, last)
                ]
                yield vae_pb2.DecodeResponse(decoded=vae_pb2.DecodedFrames(frames=frames))
            first = last
        await self.at_stage(self, "motion", request.key.chunk_index)
        await asyncio.sleep(stand_in.motion_s)
        motion = stand_in.latent(MOTION_LATENTS, latents, request.frames.to_bytes(4, "little"))
        result = vae_pb2.DecodeResult(motion_latents=motion)
        result.compute_s["decode"] = stand_in.decode_s + stand_in.motion_s
        yield vae_pb2.DecodeResponse(result=result)


async def add_workers(server: grpc.aio.Server, stand_in: StandIn, worker_id: str) -> Workers:
    """Registers the three services and their health."""
    workers = Workers(stand_in, worker_id)
    audio_grpc.add_AudioEncoderServiceServicer_to_server(workers, server)
    dit_grpc.add_DitWorkerServiceServicer_to_server(workers, server)
    vae_grpc.add_VaeDecoderServiceServicer_to_server(workers, server)
    await add_health(server)
    return workers


async def add_health(server: grpc.aio.Server) -> None:
    """All three services serve."""
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    names = ("AudioEncoderService", "DitWorkerService", "VaeDecoderService")
    for name in ("", *(f"flashtalk.v1.{name}" for name in names)):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)


async def _serve(add: Add, options: Options, stand_in: StandIn, port_file: Path | None) -> None:
    server = grpc.aio.server(options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    await add(server, stand_in, f"stand-in:{port}")
    await server.start()
    if port_file is not None:
        await asyncio.to_thread(write_port, port_file, port)
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()
    await server.stop(1)


def serve_stand_ins(add: Add, options: Options, arguments: Sequence[str] | None) -> None:
    """Serves what ``add`` registers until it is asked to stop; behaviour is on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(64, 64), metavar=("H", "W"))
    for stage in ("audio", "denoise", "decode", "motion"):
        parser.add_argument(f"--{stage}-s", type=float, default=0.0)
    parser.add_argument("--frame-bytes", type=int, default=400)
    parser.add_argument("--features", type=int, nargs=3, default=(35, 2, 8))
    parser.add_argument("--slots", type=int, default=1_000)
    given = parser.parse_args(arguments)
    stand_in = StandIn(
        size_hw=(given.size[0], given.size[1]),
        audio_s=given.audio_s,
        denoise_s=given.denoise_s,
        decode_s=given.decode_s,
        motion_s=given.motion_s,
        frame_bytes=given.frame_bytes,
        features=tuple(given.features),
        slots=given.slots,
    )
    asyncio.run(_serve(add, options, stand_in, given.port_file))


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is asked to stop."""
    options = [
        ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ]
    serve_stand_ins(add_workers, options, arguments)


if __name__ == "__main__":
    main()
