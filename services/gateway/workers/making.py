"""Calls the three workers for one chunk, with retries.

A call that fails because of its worker is retried on another worker with the same inputs, until
the timeout of the stage. Calls are idempotent: the inputs contain seed, chunk and latents, so a
retry gives the same bits. Frames that were already sent are skipped.

Legend: H W pixels, C channels, F latent frames, S samples.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple, TypeVar

import grpc
import numpy as np

from flashtalk.arrays import FloatArray, Rgb
from flashtalk.pauses import Pauses
from flashtalk.serving.errors import Reason, ServiceError, reason_of
from flashtalk.streaming import Pcm
from flashtalk.v1 import audio_encoder_service_pb2 as audio_pb2
from flashtalk.v1 import dit_worker_service_pb2 as dit_pb2
from flashtalk.v1 import media_pb2, worker_pb2
from flashtalk.v1 import vae_decoder_service_pb2 as vae_pb2
from flashtalk.v1.tensor_pb2 import Tensor
from flashtalk.wire import image_to_proto, tensor_from_proto
from flashtalk.wire.splice import spliced, tensor_pieces
from services.gateway.chunk_times import ChunkTimes
from services.gateway.limits import GatewayLimits
from services.gateway.store.records import SessionAsset
from services.gateway.workers.pool import WorkerPool
from services.gateway.workers.worker import Role, Worker

_RETRIED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
    }
)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_UNHURRIED_S = 5.0

ResultT = TypeVar("ResultT")
Call = Callable[[Worker, float], Awaitable[ResultT]]
Choose = Callable[[float], Awaitable[Worker]]


class Decoded(NamedTuple):
    """A decoded part of a chunk.

    Args:
        frames: one or more; none in the last part.
        motion_z: [1, C, 2, h, w] after the chunk's last frame; only the last part has it.
    """

    frames: Sequence[vae_pb2.DecodedFrame]
    motion_z: FloatArray | None = None


class ChunkMaker:
    """Calls workers for all sessions; has no state of a session.

    Args:
        pool: the workers.
        limits: timeouts.
        weights: digest of the weights of the workers that it calls; empty: any.
    """

    def __init__(self, pool: WorkerPool, limits: GatewayLimits, weights: str = "") -> None:
        self._pool = pool
        self._limits = limits
        self.weights = weights

    def with_weights(self, digest: str) -> ChunkMaker:
        """Returns one that calls only workers with these weights: a session never mixes them."""
        return ChunkMaker(self._pool, self._limits, digest)

    @property
    def accepts_prompt(self) -> bool:
        """Whether prompts have an effect on the workers' weights."""
        return self._pool.accepts_prompt

    @property
    def default_prompt(self) -> str:
        """The workers' own prompt."""
        return self._pool.default_prompt

    async def condition(self, portrait_HWC: Rgb, prompt: str, session_id: str) -> SessionAsset:
        """Encodes the portrait and the prompt of a new session.

        Args:
            portrait_HWC: uint8 [H, W, 3] at the video size.
            prompt: text prompt.
            session_id: the session, which holds a slot of a DiT worker.
        """
        image = image_to_proto(portrait_HWC)
        times = ChunkTimes()

        async def encode(worker: Worker, timeout_s: float) -> vae_pb2.EncodeReferenceResponse:
            request = vae_pb2.EncodeReferenceRequest(portrait=image)
            response: vae_pb2.EncodeReferenceResponse = await worker.vae.EncodeReference(
                request, timeout=timeout_s
            )
            return response

        reference = await self._retry(Role.VAE_DECODER, encode, times)

        source = dit_pb2.PortraitSource(
            portrait=image, prompt=prompt, reference_latents=reference.reference_latents
        )
        made = await self._embedded(source, session_id, times)
        z_BCFHW = _latents(reference.reference_latents, "reference_latents")
        return SessionAsset(
            digest=made.digest,
            weights_digest=self.weights,
            color=tensor_from_proto(reference.color, field="color", shape=(2, 3)),
            conditioning=made.SerializeToString(),
            portrait_z=np.ascontiguousarray(z_BCFHW[:, :, :1]),
            portrait_rgb=image.rgb,
        )

    async def with_prompt(
        self, asset: SessionAsset, size_hw: tuple[int, int], prompt: str, session_id: str
    ) -> SessionAsset:
        """The same portrait with another prompt, in the middle of a session.

        Args:
            asset: of the portrait, which it has to contain.
            size_hw: height and width of the video.
            prompt: the scene.
            session_id: who holds a slot of a DiT worker.
        """
        size = media_pb2.VideoSize(width_px=size_hw[1], height_px=size_hw[0])
        known = dit_pb2.Conditioning.FromString(asset.conditioning)
        source = dit_pb2.PortraitSource(
            portrait=media_pb2.RgbImage(size=size, rgb=asset.portrait_rgb),
            prompt=prompt,
            reference_latents=known.reference_latents,
        )
        made = await self._embedded(source, session_id, ChunkTimes())
        return replace(
            asset,
            digest=made.digest,
            weights_digest=self.weights,
            conditioning=made.SerializeToString(),
        )

    async def _embedded(
        self, source: dit_pb2.PortraitSource, session_id: str, times: ChunkTimes
    ) -> dit_pb2.Conditioning:
        request = dit_pb2.ConditionRequest(portrait=source)

        async def embed(worker: Worker, timeout_s: float) -> dit_pb2.ConditionResponse:
            response: dit_pb2.ConditionResponse = await worker.dit.Condition(
                request, timeout=timeout_s
            )
            return response

        response = await self._retry_slot(session_id, embed, times)
        return response.conditioning

    async def features(
        self, key: worker_pb2.ChunkKey, window: Sequence[Pcm], times: ChunkTimes
    ) -> Tensor:
        """Returns the speech features of the 8 s window (in pieces) that ends with a chunk."""
        samples = sum(map(len, window))
        request = spliced(
            audio_pb2.EncodeRequest(key=key),
            (audio_pb2.EncodeRequest.PCM_FIELD_NUMBER, tensor_pieces(window, [samples])),
        )

        async def encode(worker: Worker, timeout_s: float) -> audio_pb2.EncodeResponse:
            response: audio_pb2.EncodeResponse = await worker.encode(request, timeout=timeout_s)
            return response

        start = times.now_s()
        response = await self._retry(Role.AUDIO_ENCODER, encode, times)
        times.add("audio", times.now_s() - start)
        times.compute_s += response.compute_s
        return response.features

    async def latents(
        self,
        key: worker_pb2.ChunkKey,
        seed: int,
        asset: SessionAsset,
        features: Tensor,
        motion_z: FloatArray,
        times: ChunkTimes,
    ) -> FloatArray:
        """Returns the latents of a chunk, [1, C, F, h, w]."""
        asked = dit_pb2.DenoiseRequest
        request = spliced(
            asked(key=key, seed=seed, conditioning_digest=asset.digest),
            (asked.FEATURES_FIELD_NUMBER, [features.SerializeToString()]),
            (asked.MOTION_LATENTS_FIELD_NUMBER, tensor_pieces([motion_z], motion_z.shape)),
        )

        async def denoise(worker: Worker, timeout_s: float) -> dit_pb2.DenoiseResponse:
            response: dit_pb2.DenoiseResponse
            try:
                response = await worker.denoise(request, timeout=timeout_s)
                return response
            except grpc.aio.AioRpcError as error:
                if reason_of(error) is not Reason.CONDITIONING_MISSING:
                    raise
            known = dit_pb2.Conditioning.FromString(asset.conditioning)
            await worker.dit.Condition(
                dit_pb2.ConditionRequest(conditioning=known), timeout=timeout_s
            )
            response = await worker.denoise(request, timeout=timeout_s)
            return response

        start = times.now_s()
        response = await self._retry_slot(key.session_id, denoise, times)
        times.add("denoise", times.now_s() - start)
        times.compute_s += response.compute_s
        return _latents(response.latents, "latents")

    async def frames(
        self, request: vae_pb2.DecodeRequest, latents: FloatArray, times: ChunkTimes, skip: int = 0
    ) -> AsyncGenerator[Decoded]:
        """Yields parts of a chunk as they are decoded: frames, then the motion latents.

        Args:
            request: the request without latents.
            latents: latents of the chunk, [1, C, F, h, w].
            times: records times and retries.
            skip: number of frames at the beginning to leave out.
        """
        number = vae_pb2.DecodeRequest.LATENTS_FIELD_NUMBER
        asked = spliced(request, (number, tensor_pieces([latents], latents.shape)))
        begun = times.now_s()
        until_s = begun + self._limits.chunk_timeout_s
        sent = skip
        pauses = Pauses(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        while True:
            left_s = self._left(until_s, times)
            worker = await self._pool.choose(
                Role.VAE_DECODER, timeout_s=left_s, weights=self.weights
            )
            call = worker.decode(asked, timeout=self._timeout_s(times))
            try:
                result: vae_pb2.DecodeResult | None = None
                async for response in call:
                    if response.WhichOneof("message") == "result":
                        result = response.result
                        continue
                    wanted = []
                    for frame in response.decoded.frames:
                        if frame.index >= sent:
                            sent = frame.index + 1
                            wanted.append(frame)
                    if wanted:
                        yield Decoded(wanted)
                if result is not None:
                    times.add("decode", times.now_s() - begun)
                    times.compute_s += sum(result.compute_s.values())
                    yield Decoded((), _latents(result.motion_latents, "motion_latents"))
                    return
                # The call ended with OK but without a result: treated as a failure of the worker.
                self._lost(worker, until_s, times)
            except grpc.aio.AioRpcError as error:
                self._failed(worker, error, until_s, times)
            finally:
                call.cancel()
            await asyncio.sleep(pauses.next_s())

    async def motion(
        self, request: vae_pb2.DecodeRequest, latents: FloatArray, times: ChunkTimes
    ) -> FloatArray:
        """Returns only the motion latents after ``request.frames`` frames of a chunk."""
        wanted = vae_pb2.DecodeRequest()
        wanted.CopyFrom(request)
        wanted.motion_only = True
        async with aclosing(self.frames(wanted, latents, times)) as parts:
            async for part in parts:
                if part.motion_z is not None:
                    return part.motion_z
        raise AssertionError("frames() ends with motion latents or an error")

    async def _retry(self, role: Role, call: Call[ResultT], times: ChunkTimes) -> ResultT:
        """Calls any worker of a role; retries on another one after each failure."""

        async def choose(timeout_s: float) -> Worker:
            return await self._pool.choose(role, timeout_s=timeout_s, weights=self.weights)

        return await self._attempts(choose, choose, call, times)

    async def _retry_slot(self, session_id: str, call: Call[ResultT], times: ChunkTimes) -> ResultT:
        """Calls the worker with the session's slot; moves the slot before each retry."""

        async def holder(timeout_s: float) -> Worker:
            return await self._pool.holder(session_id, timeout_s=timeout_s, weights=self.weights)

        async def move(timeout_s: float) -> Worker:
            return await self._pool.move(session_id, timeout_s=timeout_s, weights=self.weights)

        return await self._attempts(holder, move, call, times)

    async def _attempts(
        self, first: Choose, again: Choose, call: Call[ResultT], times: ChunkTimes
    ) -> ResultT:
        until_s = times.now_s() + self._limits.chunk_timeout_s
        pauses, choose = Pauses(_FIRST_PAUSE_S, _LONGEST_PAUSE_S), first
        while True:
            worker = await choose(self._left(until_s, times))
            try:
                return await call(worker, self._timeout_s(times))
            except grpc.aio.AioRpcError as error:
                self._failed(worker, error, until_s, times)
            await asyncio.sleep(pauses.next_s())
            choose = again

    def _timeout_s(self, times: ChunkTimes) -> float:
        """Returns the timeout of a call.

        Workers serve the earliest deadline first, so it is shorter for chunks that are due earlier.
        """
        ahead_s = times.due_s - times.now_s()
        call_s = self._limits.call_timeout_s
        return call_s + max(-call_s / 2, min(ahead_s, _UNHURRIED_S))

    def _failed(
        self,
        worker: Worker,
        error: grpc.aio.AioRpcError,
        until_s: float,
        times: ChunkTimes,
    ) -> None:
        """Counts a failure that a retry may fix; raises any other error."""
        broken = error.code() is grpc.StatusCode.INTERNAL and reason_of(error) is None
        if error.code() not in _RETRIED and not broken:
            raise error
        self._lost(worker, until_s, times)

    def _lost(self, worker: Worker, until_s: float, times: ChunkTimes) -> None:
        self._pool.suspect(worker)
        times.retries += 1
        self._left(until_s, times)

    def _left(self, until_s: float, times: ChunkTimes) -> float:
        left_s = until_s - times.now_s()
        if left_s <= 0:
            raise ServiceError(
                grpc.StatusCode.UNAVAILABLE,
                Reason.NO_WORKER,
                f"timeout: no worker finished the stage within {self._limits.chunk_timeout_s:g} s",
                retry_after_s=1.0,
            )
        return left_s


def _latents(message: Tensor, name: str) -> FloatArray:
    shape = (1, None, None, None, None)
    array: FloatArray = tensor_from_proto(message, field=name, shape=shape, own=False)
    return array
