"""The shared parts of a stream."""

from __future__ import annotations

from dataclasses import dataclass

from flashtalk.streaming import StreamSpec
from flashtalk.v1 import vae_decoder_service_pb2 as vae_pb2
from flashtalk.v1 import worker_pb2
from flashtalk.wire import tensor_to_proto
from services.gateway.keys.entries import ApiKey
from services.gateway.store.records import ChunkRecord, SessionAsset, SessionSetting
from services.gateway.store.session_store import SessionStore
from services.gateway.stream.held_picture import HeldPicture
from services.gateway.stream.idle_loop import IdleLoop
from services.gateway.stream.intake import SpeechIntake
from services.gateway.stream.pace import Lead
from services.gateway.stream.playout import Outbox
from services.gateway.stream.prompts import PromptUpdates
from services.gateway.stream.signals import StreamSignals
from services.gateway.workers.making import ChunkMaker


@dataclass(frozen=True, eq=False)
class OpenStream:
    """Shared by the tasks of one stream; the conductor's ``Progress`` is its position.

    Args:
        spec: spec of the stream.
        setting: of the session; asset: its portrait, with the prompt of its creation.
        fence: fence of the claim; caller: its owner.
        store, maker: store the session and make its chunks.
        audio_encoding: number of ``AudioEncoding`` for both directions.
        intake: received speech.
        outbox: messages to send.
        lead: time before its deadline at which a chunk must begin.
        held, loop: the pictures to show while nothing is computed.
        loop_chunks: of a complete idle loop; 0 under other policies.
        signals: requests of other tasks.
        prompts: updates of the prompt.
    """

    spec: StreamSpec
    setting: SessionSetting
    asset: SessionAsset
    fence: int
    caller: ApiKey
    store: SessionStore
    maker: ChunkMaker
    audio_encoding: int
    intake: SpeechIntake
    outbox: Outbox
    lead: Lead
    held: HeldPicture
    loop: IdleLoop
    loop_chunks: int
    signals: StreamSignals
    prompts: PromptUpdates

    @property
    def session_id(self) -> str:
        """Returns the name of the session."""
        return self.setting.session_id

    @property
    def ending(self) -> bool:
        """Whether no new chunk begins. After a half-close, complete utterances are still shown."""
        asked = self.signals
        return asked.draining or asked.deleted or (asked.half_closed and not self.intake.complete)

    def key(self, chunk_index: int, epoch: int) -> worker_pb2.ChunkKey:
        """Returns the chunk's reference for workers, which drop chunks of older epochs."""
        return worker_pb2.ChunkKey(session_id=self.session_id, chunk_index=chunk_index, epoch=epoch)

    def decode_request(self, record: ChunkRecord, frames: int, epoch: int) -> vae_pb2.DecodeRequest:
        """Returns a request for the first ``frames`` frames of a chunk; its latents are separate.

        ``epoch`` is the current epoch of the session; a chunk that is sent again may be older.
        """
        request = vae_pb2.DecodeRequest(
            key=self.key(record.plan.index, epoch),
            video_codec=self.setting.video_codec,  # type: ignore[arg-type]
            frames=frames,
        )
        tensor_to_proto(self.asset.color, request.color)
        return request
