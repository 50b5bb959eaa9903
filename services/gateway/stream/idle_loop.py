"""An idle loop: the newest idle chunks, played backward and forward without a model.

The loop of a pause is made of its first chunks, so it begins with the picture that is shown, and
at its turns a picture is followed by its neighbour: it has no seam. A loop that is made elsewhere
would have one (docs/reliability.md). The latents of its chunks are in the state of the session;
their pictures are decoded once for each direction.

Legend: C latent channels, h w latent size.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flashtalk.arrays import FloatArray
from flashtalk.v1 import stream_pb2
from flashtalk.v1 import vae_decoder_service_pb2 as vae_pb2
from services.gateway.chunk_times import ChunkTimes
from services.gateway.store.records import ChunkPlan, ChunkRecord, SessionState
from services.gateway.workers.making import ChunkMaker

_IDLE = stream_pb2.Activity.KIND_IDLE


class Step(NamedTuple):
    """One chunk of the loop: its number, from 1, and its direction."""

    chunk: int
    backward: bool


def next_step(state: SessionState) -> Step:
    """Returns what follows the newest chunk; the loop must be complete."""
    newest, chunks = state.history[-1].plan, len(state.loop)
    if newest.loop_chunk and newest.backward:
        if newest.loop_chunk > 1:
            return Step(newest.loop_chunk - 1, backward=True)
        return Step(1, backward=False)
    if newest.loop_chunk and newest.loop_chunk < chunks:
        return Step(newest.loop_chunk + 1, backward=False)
    return Step(chunks, backward=True)


def shown_latent_frames(plan: ChunkPlan, frames: int, new_frames: int) -> int:
    """Returns how many frames of a chunk's latents end with the last of ``frames`` frames shown."""
    return new_frames - frames + 1 if plan.backward else plan.held_frame or frames


def loop_after(
    state: SessionState, record: ChunkRecord, new_frames: int, chunks: int
) -> tuple[FloatArray, ...]:
    """Returns the loop after a chunk: idle chunks in a row, without the first after speech, in
    which the mouth closes.

    Args:
        state: before the chunk.
        record: the chunk.
        new_frames: frames of a whole chunk.
        chunks: of a complete loop; 0 where none is wanted.
    """
    if record.plan.loop_chunk:
        return state.loop
    before = state.history[-1].plan if state.history else None
    if before is None or not (_idles(before, new_frames) and _idles(record.plan, new_frames)):
        return ()
    # A chunk that was computed after a played one does not continue what was played.
    kept = () if before.loop_chunk else state.loop
    return (*kept, record.latents)[-chunks:] if chunks else ()


def _idles(plan: ChunkPlan, new_frames: int) -> bool:
    return plan.activity == _IDLE and plan.frames == new_frames and not plan.speech_samples


@dataclass(frozen=True, eq=False)
class _Kept:
    latents: FloatArray
    pictures: Sequence[vae_pb2.DecodedFrame]
    motion_z: FloatArray

    @property
    def bytes(self) -> int:
        return sum(len(frame.video) for frame in self.pictures)


class IdleLoop:
    """The pictures of one stream's loop.

    Args:
        maker: decodes them.
        limit_bytes: of the pictures that are kept; others are decoded each time.
    """

    def __init__(self, maker: ChunkMaker, limit_bytes: int) -> None:
        self._maker, self._limit_bytes = maker, limit_bytes
        self._kept: dict[Step, _Kept] = {}

    async def chunk(
        self,
        record: ChunkRecord,
        decode: vae_pb2.DecodeRequest,
        motion: vae_pb2.DecodeRequest,
        times: ChunkTimes,
    ) -> tuple[Sequence[vae_pb2.DecodedFrame], FloatArray]:
        """Returns the pictures of a chunk in the order of their play, and motion latents
        [1, C, 2, h, w] after the last of them.

        Args:
            record: a chunk of the loop.
            decode, motion: requests for its whole latents, and up to the last picture shown.
            times: collects the times.
        """
        step = Step(record.plan.loop_chunk, record.plan.backward)
        kept = self._kept.get(step)
        if kept is not None and np.array_equal(kept.latents, record.latents):
            return kept.pictures, kept.motion_z
        decode.reverse = step.backward
        pictures = [frame async for frame in self._decoded(record, decode, times)]
        # Always this call, so that another gateway gets the same bits.
        motion_z = await self._maker.motion(motion, record.latents, times)
        self._keep(step, _Kept(record.latents, pictures, motion_z))
        return pictures, motion_z

    async def _decoded(
        self, record: ChunkRecord, request: vae_pb2.DecodeRequest, times: ChunkTimes
    ) -> AsyncGenerator[vae_pb2.DecodedFrame]:
        async with aclosing(self._maker.frames(request, record.latents, times)) as parts:
            async for part in parts:
                for frame in part.frames:
                    yield frame

    def _keep(self, step: Step, new: _Kept) -> None:
        self._kept.pop(step, None)
        if sum(kept.bytes for kept in self._kept.values()) + new.bytes <= self._limit_bytes:
            self._kept[step] = new
