import datetime

from flashtalk.v1 import media_pb2 as _media_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StreamRequest(_message.Message):
    __slots__ = ("open", "audio", "end_of_audio", "interrupt", "finish", "prompt_update")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    END_OF_AUDIO_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    PROMPT_UPDATE_FIELD_NUMBER: _ClassVar[int]
    open: StreamOpen
    audio: AudioPacket
    end_of_audio: EndOfAudio
    interrupt: Interrupt
    finish: Finish
    prompt_update: PromptUpdate
    def __init__(self, open: _Optional[_Union[StreamOpen, _Mapping]] = ..., audio: _Optional[_Union[AudioPacket, _Mapping]] = ..., end_of_audio: _Optional[_Union[EndOfAudio, _Mapping]] = ..., interrupt: _Optional[_Union[Interrupt, _Mapping]] = ..., finish: _Optional[_Union[Finish, _Mapping]] = ..., prompt_update: _Optional[_Union[PromptUpdate, _Mapping]] = ...) -> None: ...

class StreamOpen(_message.Message):
    __slots__ = ("session_id", "sample_rate_hz", "channels", "audio_encoding", "resume_frame", "frames_per_message")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_ENCODING_FIELD_NUMBER: _ClassVar[int]
    RESUME_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    sample_rate_hz: int
    channels: int
    audio_encoding: _media_pb2.AudioEncoding
    resume_frame: int
    frames_per_message: int
    def __init__(self, session_id: _Optional[str] = ..., sample_rate_hz: _Optional[int] = ..., channels: _Optional[int] = ..., audio_encoding: _Optional[_Union[_media_pb2.AudioEncoding, str]] = ..., resume_frame: _Optional[int] = ..., frames_per_message: _Optional[int] = ...) -> None: ...

class AudioPacket(_message.Message):
    __slots__ = ("pcm", "first_sample")
    PCM_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    pcm: bytes
    first_sample: int
    def __init__(self, pcm: _Optional[bytes] = ..., first_sample: _Optional[int] = ...) -> None: ...

class EndOfAudio(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Interrupt(_message.Message):
    __slots__ = ("interrupt_id", "played_frames")
    INTERRUPT_ID_FIELD_NUMBER: _ClassVar[int]
    PLAYED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    interrupt_id: str
    played_frames: int
    def __init__(self, interrupt_id: _Optional[str] = ..., played_frames: _Optional[int] = ...) -> None: ...

class PromptUpdate(_message.Message):
    __slots__ = ("update_id", "prompt")
    UPDATE_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    update_id: str
    prompt: str
    def __init__(self, update_id: _Optional[str] = ..., prompt: _Optional[str] = ...) -> None: ...

class Finish(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StreamResponse(_message.Message):
    __slots__ = ("opened", "frame", "chunk", "activity", "underrun", "interrupted", "heartbeat", "go_away", "closed", "frames", "prompt_updated")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    UNDERRUN_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    GO_AWAY_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    PROMPT_UPDATED_FIELD_NUMBER: _ClassVar[int]
    opened: StreamOpened
    frame: Frame
    chunk: ChunkReport
    activity: Activity
    underrun: Underrun
    interrupted: Interrupted
    heartbeat: Heartbeat
    go_away: GoAway
    closed: StreamClosed
    frames: FrameGroup
    prompt_updated: PromptUpdated
    def __init__(self, opened: _Optional[_Union[StreamOpened, _Mapping]] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ..., chunk: _Optional[_Union[ChunkReport, _Mapping]] = ..., activity: _Optional[_Union[Activity, _Mapping]] = ..., underrun: _Optional[_Union[Underrun, _Mapping]] = ..., interrupted: _Optional[_Union[Interrupted, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., go_away: _Optional[_Union[GoAway, _Mapping]] = ..., closed: _Optional[_Union[StreamClosed, _Mapping]] = ..., frames: _Optional[_Union[FrameGroup, _Mapping]] = ..., prompt_updated: _Optional[_Union[PromptUpdated, _Mapping]] = ...) -> None: ...

class StreamOpened(_message.Message):
    __slots__ = ("input_samples", "next_frame", "epoch", "spec", "audio_encoding", "utterances")
    INPUT_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    AUDIO_ENCODING_FIELD_NUMBER: _ClassVar[int]
    UTTERANCES_FIELD_NUMBER: _ClassVar[int]
    input_samples: int
    next_frame: int
    epoch: int
    spec: _media_pb2.StreamSpec
    audio_encoding: _media_pb2.AudioEncoding
    utterances: int
    def __init__(self, input_samples: _Optional[int] = ..., next_frame: _Optional[int] = ..., epoch: _Optional[int] = ..., spec: _Optional[_Union[_media_pb2.StreamSpec, _Mapping]] = ..., audio_encoding: _Optional[_Union[_media_pb2.AudioEncoding, str]] = ..., utterances: _Optional[int] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("frame_index", "first_sample", "pcm", "video", "key_frame", "chunk_index", "epoch")
    FRAME_INDEX_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    PCM_FIELD_NUMBER: _ClassVar[int]
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    KEY_FRAME_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    frame_index: int
    first_sample: int
    pcm: bytes
    video: bytes
    key_frame: bool
    chunk_index: int
    epoch: int
    def __init__(self, frame_index: _Optional[int] = ..., first_sample: _Optional[int] = ..., pcm: _Optional[bytes] = ..., video: _Optional[bytes] = ..., key_frame: _Optional[bool] = ..., chunk_index: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class FrameGroup(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[Frame]
    def __init__(self, frames: _Optional[_Iterable[_Union[Frame, _Mapping]]] = ...) -> None: ...

class StageTiming(_message.Message):
    __slots__ = ("stage", "duration")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    stage: str
    duration: _duration_pb2.Duration
    def __init__(self, stage: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ChunkReport(_message.Message):
    __slots__ = ("chunk_index", "epoch", "first_frame", "frames", "stages", "real_time_factor", "retries", "late", "input_samples", "trace_id", "utterances")
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    REAL_TIME_FACTOR_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    INPUT_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    UTTERANCES_FIELD_NUMBER: _ClassVar[int]
    chunk_index: int
    epoch: int
    first_frame: int
    frames: int
    stages: _containers.RepeatedCompositeFieldContainer[StageTiming]
    real_time_factor: float
    retries: int
    late: _duration_pb2.Duration
    input_samples: int
    trace_id: str
    utterances: int
    def __init__(self, chunk_index: _Optional[int] = ..., epoch: _Optional[int] = ..., first_frame: _Optional[int] = ..., frames: _Optional[int] = ..., stages: _Optional[_Iterable[_Union[StageTiming, _Mapping]]] = ..., real_time_factor: _Optional[float] = ..., retries: _Optional[int] = ..., late: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., input_samples: _Optional[int] = ..., trace_id: _Optional[str] = ..., utterances: _Optional[int] = ...) -> None: ...

class Activity(_message.Message):
    __slots__ = ("kind", "frame_index")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Activity.Kind]
        KIND_IDLE: _ClassVar[Activity.Kind]
        KIND_LISTENING: _ClassVar[Activity.Kind]
        KIND_SPEAKING: _ClassVar[Activity.Kind]
    KIND_UNSPECIFIED: Activity.Kind
    KIND_IDLE: Activity.Kind
    KIND_LISTENING: Activity.Kind
    KIND_SPEAKING: Activity.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    FRAME_INDEX_FIELD_NUMBER: _ClassVar[int]
    kind: Activity.Kind
    frame_index: int
    def __init__(self, kind: _Optional[_Union[Activity.Kind, str]] = ..., frame_index: _Optional[int] = ...) -> None: ...

class Underrun(_message.Message):
    __slots__ = ("frame_index", "missing_samples")
    FRAME_INDEX_FIELD_NUMBER: _ClassVar[int]
    MISSING_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    frame_index: int
    missing_samples: int
    def __init__(self, frame_index: _Optional[int] = ..., missing_samples: _Optional[int] = ...) -> None: ...

class Interrupted(_message.Message):
    __slots__ = ("interrupt_id", "played_frames", "played_samples", "dropped_samples", "epoch", "input_samples", "utterances")
    INTERRUPT_ID_FIELD_NUMBER: _ClassVar[int]
    PLAYED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    PLAYED_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INPUT_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    UTTERANCES_FIELD_NUMBER: _ClassVar[int]
    interrupt_id: str
    played_frames: int
    played_samples: int
    dropped_samples: int
    epoch: int
    input_samples: int
    utterances: int
    def __init__(self, interrupt_id: _Optional[str] = ..., played_frames: _Optional[int] = ..., played_samples: _Optional[int] = ..., dropped_samples: _Optional[int] = ..., epoch: _Optional[int] = ..., input_samples: _Optional[int] = ..., utterances: _Optional[int] = ...) -> None: ...

class PromptUpdated(_message.Message):
    __slots__ = ("update_id", "outcome", "first_frame", "reason", "message")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[PromptUpdated.Outcome]
        OUTCOME_APPLIED: _ClassVar[PromptUpdated.Outcome]
        OUTCOME_SUPERSEDED: _ClassVar[PromptUpdated.Outcome]
        OUTCOME_REFUSED: _ClassVar[PromptUpdated.Outcome]
        OUTCOME_FAILED: _ClassVar[PromptUpdated.Outcome]
    OUTCOME_UNSPECIFIED: PromptUpdated.Outcome
    OUTCOME_APPLIED: PromptUpdated.Outcome
    OUTCOME_SUPERSEDED: PromptUpdated.Outcome
    OUTCOME_REFUSED: PromptUpdated.Outcome
    OUTCOME_FAILED: PromptUpdated.Outcome
    UPDATE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    update_id: str
    outcome: PromptUpdated.Outcome
    first_frame: int
    reason: str
    message: str
    def __init__(self, update_id: _Optional[str] = ..., outcome: _Optional[_Union[PromptUpdated.Outcome, str]] = ..., first_frame: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("next_frame",)
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    next_frame: int
    def __init__(self, next_frame: _Optional[int] = ...) -> None: ...

class GoAway(_message.Message):
    __slots__ = ("grace",)
    GRACE_FIELD_NUMBER: _ClassVar[int]
    grace: _duration_pb2.Duration
    def __init__(self, grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamClosed(_message.Message):
    __slots__ = ("reason", "next_frame")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[StreamClosed.Reason]
        REASON_FINISHED: _ClassVar[StreamClosed.Reason]
        REASON_DELETED: _ClassVar[StreamClosed.Reason]
        REASON_HALF_CLOSED: _ClassVar[StreamClosed.Reason]
        REASON_DRAINING: _ClassVar[StreamClosed.Reason]
    REASON_UNSPECIFIED: StreamClosed.Reason
    REASON_FINISHED: StreamClosed.Reason
    REASON_DELETED: StreamClosed.Reason
    REASON_HALF_CLOSED: StreamClosed.Reason
    REASON_DRAINING: StreamClosed.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    reason: StreamClosed.Reason
    next_frame: int
    def __init__(self, reason: _Optional[_Union[StreamClosed.Reason, str]] = ..., next_frame: _Optional[int] = ...) -> None: ...
