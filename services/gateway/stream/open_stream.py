"""What is known about a session while a stream is open on it, and what that stream owns."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from flashtalk.streaming import StreamSpec
from flashtalk.v1 import vae_decoder_service_pb2 as vae_pb2
from flashtalk.v1 import worker_pb2
from flashtalk.wire import tensor_to_proto
from services.gateway.keys.entries import ANYBODY, ApiKey
from services.gateway.store.records import (
    Array,
    ChunkRecord,
    InterruptRequest,
    SessionAsset,
    SessionSetting,
    SessionState,
)
from services.gateway.store.session_store import SessionStore
from services.gateway.stream.intake import Mark, SpeechIntake
from services.gateway.stream.pace import Lead
from services.gateway.stream.playout import Outbox
from services.gateway.workers.making import ChunkMaker

_WAITING_INTERRUPTS = 16


@dataclass(frozen=True)
class Asked:
    """An interruption that waits for the conductor.

    Args:
        request: what was asked.
        mark: where in the speech it stood: what is behind it belongs to the time after.
        elsewhere: it came by way of the store, which gets the answer too.
    """

    request: InterruptRequest
    mark: Mark
    elsewhere: bool


def _interrupts() -> asyncio.Queue[Asked]:
    return asyncio.Queue(_WAITING_INTERRUPTS)


@dataclass(eq=False)
class OpenStream:
    """Shared by the tasks of one stream; only the conductor replaces ``state``.

    Args:
        spec: the stream contract.
        setting, asset: of the session.
        fence: under which it was taken.
        store, maker: where it is kept and who makes its chunks.
        intake: speech that arrived.
        outbox: what is to be sent.
        audio_encoding: number of ``AudioEncoding`` for both ways.
        state: the session between two chunks.
        next_put: number of the next frame for the outbox.
        lead: how early a chunk has to be begun.
        current: the chunk that is being decoded.
        interrupts: that were asked for and not carried out.
        wake: set by everything that the conductor has to look at.
        draining, half_closed, deleted: why the stream ends soon.
        activity: what the avatar does in the newest frame that was put.
        caller: who opened it.
        held_picture: latents, frame and pixels of the picture that is held.
    """

    spec: StreamSpec
    setting: SessionSetting
    asset: SessionAsset
    fence: int
    store: SessionStore
    maker: ChunkMaker
    intake: SpeechIntake
    outbox: Outbox
    audio_encoding: int
    state: SessionState
    next_put: int
    lead: Lead
    current: ChunkRecord | None = None
    interrupts: asyncio.Queue[Asked] = field(default_factory=_interrupts)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    draining: bool = False
    half_closed: bool = False
    deleted: bool = False
    activity: int = 0
    caller: ApiKey = ANYBODY
    held_picture: tuple[Array, int, bytes] | None = None

    @property
    def session_id(self) -> str:
        """Name of the session."""
        return self.setting.session_id

    @property
    def interrupted(self) -> bool:
        """An interruption waits to be carried out."""
        return not self.interrupts.empty()

    @property
    def ending(self) -> bool:
        """No new chunk is to be begun. A client that only listens hears complete utterances out."""
        return self.draining or self.deleted or (self.half_closed and not self.intake.complete)

    def key(self, chunk_index: int) -> worker_pb2.ChunkKey:
        """Names a chunk to the workers."""
        return worker_pb2.ChunkKey(
            session_id=self.session_id, chunk_index=chunk_index, epoch=self.state.epoch
        )

    def decode_request(self, record: ChunkRecord, frames: int) -> vae_pb2.DecodeRequest:
        """Asks for the first ``frames`` frames of a chunk, whose latents go beside it."""
        request = vae_pb2.DecodeRequest(
            key=self.key(record.plan.index),
            video_codec=self.setting.video_codec,  # type: ignore[arg-type]
            frames=frames,
        )
        tensor_to_proto(self.asset.color, request.color)
        return request
