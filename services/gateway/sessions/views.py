"""The public form of what the gateway knows."""

from __future__ import annotations

from dataclasses import dataclass

from flashtalk.streaming import StreamSpec
from flashtalk.v1 import media_pb2
from flashtalk.v1 import session_service_pb2 as session_pb2
from services.gateway.sessions.rewind import HISTORY_CHUNKS
from services.gateway.store.records import SessionRecord, SessionSetting

Session = session_pb2.Session


@dataclass(frozen=True)
class StreamLimits:
    """What one stream may use.

    Args:
        max_packet_bytes: of an AudioPacket.
        max_buffered_s: seconds of speech that wait; then the stream is not read.
        send_ahead_s: how much earlier than its time a frame leaves.
    """

    max_packet_bytes: int = 640_000
    max_buffered_s: float = 30.0
    send_ahead_s: float = 0.2

    def max_buffered_samples(self, spec: StreamSpec) -> int:
        """The same in samples."""
        return int(self.max_buffered_s * spec.pcm_hz)


def stream_spec(spec: StreamSpec, setting: SessionSetting) -> media_pb2.StreamSpec:
    """The numbers of a session's stream."""
    return media_pb2.StreamSpec(
        fps=spec.fps,
        sample_rate_hz=spec.pcm_hz,
        samples_per_frame=spec.samples_per_frame,
        chunk_frames=spec.new_frames,
        size=media_pb2.VideoSize(width_px=setting.width_px, height_px=setting.height_px),
    )


def session_view(
    record: SessionRecord, spec: StreamSpec, limits: StreamLimits, max_portrait_bytes: int
) -> session_pb2.Session:
    """A session as clients see it."""
    setting, state = record.setting, record.state
    view = Session(
        session_id=setting.session_id,
        state=Session.STATE_STREAMING if record.owner else Session.STATE_ACTIVE,
        spec=stream_spec(spec, setting),
        limits=session_pb2.SessionLimits(
            max_packet_bytes=limits.max_packet_bytes,
            max_buffered_samples=limits.max_buffered_samples(spec),
            max_replay_frames=HISTORY_CHUNKS * spec.new_frames,
            max_portrait_bytes=max_portrait_bytes,
        ),
        epoch=state.epoch,
        next_frame=state.next_frame,
        video_codec=setting.video_codec,  # type: ignore[arg-type]
        idle_policy=setting.idle_policy,  # type: ignore[arg-type]
        pacing=setting.pacing,  # type: ignore[arg-type]
        seed=setting.seed,
    )
    view.limits.send_ahead.FromNanoseconds(int(limits.send_ahead_s * 1e9))
    view.limits.max_lifetime.FromNanoseconds(int(setting.max_lifetime_s * 1e9))
    view.create_time.FromNanoseconds(int(setting.created_s * 1e9))
    view.expire_time.FromNanoseconds(int(record.expires_s * 1e9))
    return view
