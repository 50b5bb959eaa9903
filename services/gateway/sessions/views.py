"""The public form of sessions and streams."""

from __future__ import annotations

from flashtalk.v1 import media_pb2
from flashtalk.v1 import session_service_pb2 as session_pb2
from services.gateway.limits import GatewayLimits
from services.gateway.sessions.rewind import HISTORY_CHUNKS
from services.gateway.store.records import SessionRecord, SessionSetting

Session = session_pb2.Session


def stream_spec(setting: SessionSetting) -> media_pb2.StreamSpec:
    """Returns the numbers of a session's stream."""
    spec = setting.spec
    return media_pb2.StreamSpec(
        fps=spec.fps,
        sample_rate_hz=spec.pcm_hz,
        samples_per_frame=spec.samples_per_frame,
        chunk_frames=spec.new_frames,
        size=media_pb2.VideoSize(width_px=setting.width_px, height_px=setting.height_px),
    )


def session_view(record: SessionRecord, limits: GatewayLimits) -> session_pb2.Session:
    """Returns the public form of a session."""
    setting, state, spec = record.setting, record.state, record.setting.spec
    view = Session(
        session_id=setting.session_id,
        state=Session.STATE_STREAMING if record.owner else Session.STATE_ACTIVE,
        spec=stream_spec(setting),
        limits=session_pb2.SessionLimits(
            max_packet_bytes=limits.max_packet_bytes,
            max_buffered_samples=limits.max_buffered_samples(spec),
            max_replay_frames=HISTORY_CHUNKS * spec.new_frames,
            max_portrait_bytes=limits.max_portrait_bytes,
        ),
        epoch=state.epoch,
        next_frame=state.position.next_frame,
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
