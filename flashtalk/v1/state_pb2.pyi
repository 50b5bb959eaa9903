from flashtalk.v1 import worker_pb2 as _worker_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StoredArray(_message.Message):
    __slots__ = ("shape", "digest")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    digest: bytes
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., digest: _Optional[bytes] = ...) -> None: ...

class StoredSetting(_message.Message):
    __slots__ = ("version", "session_id", "request_id", "request_digest", "width_px", "height_px", "seed", "video_codec", "idle_policy", "pacing", "asset", "created_s", "ttl_s", "max_lifetime_s", "key_name", "geometry")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    VIDEO_CODEC_FIELD_NUMBER: _ClassVar[int]
    IDLE_POLICY_FIELD_NUMBER: _ClassVar[int]
    PACING_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    CREATED_S_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    MAX_LIFETIME_S_FIELD_NUMBER: _ClassVar[int]
    KEY_NAME_FIELD_NUMBER: _ClassVar[int]
    GEOMETRY_FIELD_NUMBER: _ClassVar[int]
    version: int
    session_id: str
    request_id: str
    request_digest: str
    width_px: int
    height_px: int
    seed: int
    video_codec: int
    idle_policy: int
    pacing: int
    asset: str
    created_s: float
    ttl_s: float
    max_lifetime_s: float
    key_name: str
    geometry: _worker_pb2.ChunkGeometry
    def __init__(self, version: _Optional[int] = ..., session_id: _Optional[str] = ..., request_id: _Optional[str] = ..., request_digest: _Optional[str] = ..., width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., seed: _Optional[int] = ..., video_codec: _Optional[int] = ..., idle_policy: _Optional[int] = ..., pacing: _Optional[int] = ..., asset: _Optional[str] = ..., created_s: _Optional[float] = ..., ttl_s: _Optional[float] = ..., max_lifetime_s: _Optional[float] = ..., key_name: _Optional[str] = ..., geometry: _Optional[_Union[_worker_pb2.ChunkGeometry, _Mapping]] = ...) -> None: ...

class StoredAsset(_message.Message):
    __slots__ = ("version", "digest", "weights_digest", "color", "portrait", "conditioning", "portrait_rgb")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    PORTRAIT_FIELD_NUMBER: _ClassVar[int]
    CONDITIONING_FIELD_NUMBER: _ClassVar[int]
    PORTRAIT_RGB_FIELD_NUMBER: _ClassVar[int]
    version: int
    digest: str
    weights_digest: str
    color: StoredArray
    portrait: StoredArray
    conditioning: bytes
    portrait_rgb: bytes
    def __init__(self, version: _Optional[int] = ..., digest: _Optional[str] = ..., weights_digest: _Optional[str] = ..., color: _Optional[_Union[StoredArray, _Mapping]] = ..., portrait: _Optional[_Union[StoredArray, _Mapping]] = ..., conditioning: _Optional[bytes] = ..., portrait_rgb: _Optional[bytes] = ...) -> None: ...

class StoredPlan(_message.Message):
    __slots__ = ("version", "index", "epoch", "first_frame", "frames", "pcm", "input_samples", "utterances", "activity", "held_frame", "speech_samples", "speech_begin", "loop_chunk", "backward")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    PCM_FIELD_NUMBER: _ClassVar[int]
    INPUT_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    UTTERANCES_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    HELD_FRAME_FIELD_NUMBER: _ClassVar[int]
    SPEECH_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SPEECH_BEGIN_FIELD_NUMBER: _ClassVar[int]
    LOOP_CHUNK_FIELD_NUMBER: _ClassVar[int]
    BACKWARD_FIELD_NUMBER: _ClassVar[int]
    version: int
    index: int
    epoch: int
    first_frame: int
    frames: int
    pcm: StoredArray
    input_samples: int
    utterances: int
    activity: int
    held_frame: int
    speech_samples: int
    speech_begin: int
    loop_chunk: int
    backward: bool
    def __init__(self, version: _Optional[int] = ..., index: _Optional[int] = ..., epoch: _Optional[int] = ..., first_frame: _Optional[int] = ..., frames: _Optional[int] = ..., pcm: _Optional[_Union[StoredArray, _Mapping]] = ..., input_samples: _Optional[int] = ..., utterances: _Optional[int] = ..., activity: _Optional[int] = ..., held_frame: _Optional[int] = ..., speech_samples: _Optional[int] = ..., speech_begin: _Optional[int] = ..., loop_chunk: _Optional[int] = ..., backward: _Optional[bool] = ...) -> None: ...

class StoredChunk(_message.Message):
    __slots__ = ("plan", "latents")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    plan: StoredPlan
    latents: StoredArray
    def __init__(self, plan: _Optional[_Union[StoredPlan, _Mapping]] = ..., latents: _Optional[_Union[StoredArray, _Mapping]] = ...) -> None: ...

class StoredState(_message.Message):
    __slots__ = ("version", "epoch", "chunk_index", "next_frame", "input_samples", "utterances", "motion", "tail", "history", "scene", "prompt_outcomes", "loop")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    INPUT_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    UTTERANCES_FIELD_NUMBER: _ClassVar[int]
    MOTION_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    SCENE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    LOOP_FIELD_NUMBER: _ClassVar[int]
    version: int
    epoch: int
    chunk_index: int
    next_frame: int
    input_samples: int
    utterances: int
    motion: StoredArray
    tail: _containers.RepeatedCompositeFieldContainer[StoredArray]
    history: _containers.RepeatedCompositeFieldContainer[StoredChunk]
    scene: str
    prompt_outcomes: _containers.RepeatedCompositeFieldContainer[StoredPromptOutcome]
    loop: _containers.RepeatedCompositeFieldContainer[StoredArray]
    def __init__(self, version: _Optional[int] = ..., epoch: _Optional[int] = ..., chunk_index: _Optional[int] = ..., next_frame: _Optional[int] = ..., input_samples: _Optional[int] = ..., utterances: _Optional[int] = ..., motion: _Optional[_Union[StoredArray, _Mapping]] = ..., tail: _Optional[_Iterable[_Union[StoredArray, _Mapping]]] = ..., history: _Optional[_Iterable[_Union[StoredChunk, _Mapping]]] = ..., scene: _Optional[str] = ..., prompt_outcomes: _Optional[_Iterable[_Union[StoredPromptOutcome, _Mapping]]] = ..., loop: _Optional[_Iterable[_Union[StoredArray, _Mapping]]] = ...) -> None: ...

class StoredPromptOutcome(_message.Message):
    __slots__ = ("update_id", "outcome", "first_frame")
    UPDATE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    update_id: str
    outcome: int
    first_frame: int
    def __init__(self, update_id: _Optional[str] = ..., outcome: _Optional[int] = ..., first_frame: _Optional[int] = ...) -> None: ...

class StoredInterrupt(_message.Message):
    __slots__ = ("interrupt_id", "played_frames")
    INTERRUPT_ID_FIELD_NUMBER: _ClassVar[int]
    PLAYED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    interrupt_id: str
    played_frames: int
    def __init__(self, interrupt_id: _Optional[str] = ..., played_frames: _Optional[int] = ...) -> None: ...

class StoredOutcome(_message.Message):
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
