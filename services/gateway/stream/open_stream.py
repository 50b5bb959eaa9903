"""What a stream stands on from its first message to its last."""

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
from services.gateway.stream.intake import SpeechIntake
from services.gateway.stream.pace import Lead
from services.gateway.stream.playout import Outbox
from services.gateway.stream.signals import StreamSignals
from services.gateway.workers.making import ChunkMaker


@dataclass(frozen=True, eq=False)
class OpenStream:
    """Shared by the tasks of one stream. How far it has come is the conductor's ``Progress``.

    Args:
        spec: the stream contract.
        setting, asset: of the session.
        fence: under which it was taken; caller: by whom.
        store, maker: where it is kept and who makes its chunks.
        audio_encoding: number of ``AudioEncoding`` for both ways.
        intake: speech that arrived.
        outbox: what is to be sent.
        lead: how early a chunk has to be begun.
        held: the picture that is shown where nothing is computed.
        signals: what others want of it.
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
    signals: StreamSignals

    @property
    def session_id(self) -> str:
        """Name of the session."""
        return self.setting.session_id

    @property
    def ending(self) -> bool:
        """No new chunk is to be begun. A client that only listens hears complete utterances out."""
        asked = self.signals
        return asked.draining or asked.deleted or (asked.half_closed and not self.intake.complete)

    def key(self, chunk_index: int, epoch: int) -> worker_pb2.ChunkKey:
        """Names a chunk to the workers, which drop what is of an older epoch than they know."""
        return worker_pb2.ChunkKey(session_id=self.session_id, chunk_index=chunk_index, epoch=epoch)

    def decode_request(self, record: ChunkRecord, frames: int, epoch: int) -> vae_pb2.DecodeRequest:
        """Asks for the first ``frames`` frames of a chunk, whose latents go beside it.

        ``epoch`` is that of the session now: a chunk that is shown again may be older.
        """
        request = vae_pb2.DecodeRequest(
            key=self.key(record.plan.index, epoch),
            video_codec=self.setting.video_codec,  # type: ignore[arg-type]
            frames=frames,
        )
        tensor_to_proto(self.asset.color, request.color)
        return request
