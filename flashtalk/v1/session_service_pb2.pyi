import datetime

from flashtalk.v1 import media_pb2 as _media_pb2
from flashtalk.v1 import stream_pb2 as _stream_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IdlePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IDLE_POLICY_UNSPECIFIED: _ClassVar[IdlePolicy]
    IDLE_POLICY_MODEL: _ClassVar[IdlePolicy]
    IDLE_POLICY_HOLD: _ClassVar[IdlePolicy]
    IDLE_POLICY_WAIT: _ClassVar[IdlePolicy]
    IDLE_POLICY_LOOP: _ClassVar[IdlePolicy]

class Pacing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PACING_UNSPECIFIED: _ClassVar[Pacing]
    PACING_REAL_TIME: _ClassVar[Pacing]
    PACING_UNLIMITED: _ClassVar[Pacing]
IDLE_POLICY_UNSPECIFIED: IdlePolicy
IDLE_POLICY_MODEL: IdlePolicy
IDLE_POLICY_HOLD: IdlePolicy
IDLE_POLICY_WAIT: IdlePolicy
IDLE_POLICY_LOOP: IdlePolicy
PACING_UNSPECIFIED: Pacing
PACING_REAL_TIME: Pacing
PACING_UNLIMITED: Pacing

class CreateSessionRequest(_message.Message):
    __slots__ = ("request_id", "portrait", "prompt", "seed", "size", "video_codec", "idle_policy", "pacing", "ttl")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PORTRAIT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    VIDEO_CODEC_FIELD_NUMBER: _ClassVar[int]
    IDLE_POLICY_FIELD_NUMBER: _ClassVar[int]
    PACING_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    portrait: bytes
    prompt: str
    seed: int
    size: _media_pb2.VideoSize
    video_codec: _media_pb2.VideoCodec
    idle_policy: IdlePolicy
    pacing: Pacing
    ttl: _duration_pb2.Duration
    def __init__(self, request_id: _Optional[str] = ..., portrait: _Optional[bytes] = ..., prompt: _Optional[str] = ..., seed: _Optional[int] = ..., size: _Optional[_Union[_media_pb2.VideoSize, _Mapping]] = ..., video_codec: _Optional[_Union[_media_pb2.VideoCodec, str]] = ..., idle_policy: _Optional[_Union[IdlePolicy, str]] = ..., pacing: _Optional[_Union[Pacing, str]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SessionLimits(_message.Message):
    __slots__ = ("max_packet_bytes", "max_buffered_samples", "send_ahead", "max_replay_frames", "max_lifetime", "max_portrait_bytes")
    MAX_PACKET_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BUFFERED_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SEND_AHEAD_FIELD_NUMBER: _ClassVar[int]
    MAX_REPLAY_FRAMES_FIELD_NUMBER: _ClassVar[int]
    MAX_LIFETIME_FIELD_NUMBER: _ClassVar[int]
    MAX_PORTRAIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_packet_bytes: int
    max_buffered_samples: int
    send_ahead: _duration_pb2.Duration
    max_replay_frames: int
    max_lifetime: _duration_pb2.Duration
    max_portrait_bytes: int
    def __init__(self, max_packet_bytes: _Optional[int] = ..., max_buffered_samples: _Optional[int] = ..., send_ahead: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_replay_frames: _Optional[int] = ..., max_lifetime: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_portrait_bytes: _Optional[int] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("session_id", "state", "spec", "limits", "create_time", "expire_time", "epoch", "next_frame", "video_codec", "idle_policy", "pacing", "seed")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Session.State]
        STATE_ACTIVE: _ClassVar[Session.State]
        STATE_STREAMING: _ClassVar[Session.State]
        STATE_DELETED: _ClassVar[Session.State]
    STATE_UNSPECIFIED: Session.State
    STATE_ACTIVE: Session.State
    STATE_STREAMING: Session.State
    STATE_DELETED: Session.State
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    VIDEO_CODEC_FIELD_NUMBER: _ClassVar[int]
    IDLE_POLICY_FIELD_NUMBER: _ClassVar[int]
    PACING_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    state: Session.State
    spec: _media_pb2.StreamSpec
    limits: SessionLimits
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    epoch: int
    next_frame: int
    video_codec: _media_pb2.VideoCodec
    idle_policy: IdlePolicy
    pacing: Pacing
    seed: int
    def __init__(self, session_id: _Optional[str] = ..., state: _Optional[_Union[Session.State, str]] = ..., spec: _Optional[_Union[_media_pb2.StreamSpec, _Mapping]] = ..., limits: _Optional[_Union[SessionLimits, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., epoch: _Optional[int] = ..., next_frame: _Optional[int] = ..., video_codec: _Optional[_Union[_media_pb2.VideoCodec, str]] = ..., idle_policy: _Optional[_Union[IdlePolicy, str]] = ..., pacing: _Optional[_Union[Pacing, str]] = ..., seed: _Optional[int] = ...) -> None: ...

class CreateSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class GetSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSessionsResponse(_message.Message):
    __slots__ = ("sessions", "next_page_token")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    next_page_token: str
    def __init__(self, sessions: _Optional[_Iterable[_Union[Session, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class DeleteSessionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class InterruptSessionRequest(_message.Message):
    __slots__ = ("session_id", "interrupt_id", "played_frames")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_ID_FIELD_NUMBER: _ClassVar[int]
    PLAYED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    interrupt_id: str
    played_frames: int
    def __init__(self, session_id: _Optional[str] = ..., interrupt_id: _Optional[str] = ..., played_frames: _Optional[int] = ...) -> None: ...

class InterruptSessionResponse(_message.Message):
    __slots__ = ("interrupted",)
    INTERRUPTED_FIELD_NUMBER: _ClassVar[int]
    interrupted: _stream_pb2.Interrupted
    def __init__(self, interrupted: _Optional[_Union[_stream_pb2.Interrupted, _Mapping]] = ...) -> None: ...
