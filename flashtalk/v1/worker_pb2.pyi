from flashtalk.v1 import media_pb2 as _media_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChunkKey(_message.Message):
    __slots__ = ("session_id", "chunk_index", "epoch")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    chunk_index: int
    epoch: int
    def __init__(self, session_id: _Optional[str] = ..., chunk_index: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class GetWorkerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetWorkerResponse(_message.Message):
    __slots__ = ("worker_id", "role", "preset", "weights_digest", "sizes", "session_slots", "chunk_s", "default_prompt", "pending", "accepts_prompt", "geometry")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    SESSION_SLOTS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_S_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_PROMPT_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    ACCEPTS_PROMPT_FIELD_NUMBER: _ClassVar[int]
    GEOMETRY_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    role: str
    preset: str
    weights_digest: str
    sizes: _containers.RepeatedCompositeFieldContainer[_media_pb2.VideoSize]
    session_slots: int
    chunk_s: float
    default_prompt: str
    pending: int
    accepts_prompt: bool
    geometry: ChunkGeometry
    def __init__(self, worker_id: _Optional[str] = ..., role: _Optional[str] = ..., preset: _Optional[str] = ..., weights_digest: _Optional[str] = ..., sizes: _Optional[_Iterable[_Union[_media_pb2.VideoSize, _Mapping]]] = ..., session_slots: _Optional[int] = ..., chunk_s: _Optional[float] = ..., default_prompt: _Optional[str] = ..., pending: _Optional[int] = ..., accepts_prompt: _Optional[bool] = ..., geometry: _Optional[_Union[ChunkGeometry, _Mapping]] = ...) -> None: ...

class ChunkGeometry(_message.Message):
    __slots__ = ("fps", "chunk_frames", "motion_frames", "pcm_hz", "window_s", "audio_window", "vae_stride_t", "vae_stride_hw", "patch_hw", "latent_channels")
    FPS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FRAMES_FIELD_NUMBER: _ClassVar[int]
    MOTION_FRAMES_FIELD_NUMBER: _ClassVar[int]
    PCM_HZ_FIELD_NUMBER: _ClassVar[int]
    WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    AUDIO_WINDOW_FIELD_NUMBER: _ClassVar[int]
    VAE_STRIDE_T_FIELD_NUMBER: _ClassVar[int]
    VAE_STRIDE_HW_FIELD_NUMBER: _ClassVar[int]
    PATCH_HW_FIELD_NUMBER: _ClassVar[int]
    LATENT_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    fps: int
    chunk_frames: int
    motion_frames: int
    pcm_hz: int
    window_s: int
    audio_window: int
    vae_stride_t: int
    vae_stride_hw: int
    patch_hw: int
    latent_channels: int
    def __init__(self, fps: _Optional[int] = ..., chunk_frames: _Optional[int] = ..., motion_frames: _Optional[int] = ..., pcm_hz: _Optional[int] = ..., window_s: _Optional[int] = ..., audio_window: _Optional[int] = ..., vae_stride_t: _Optional[int] = ..., vae_stride_hw: _Optional[int] = ..., patch_hw: _Optional[int] = ..., latent_channels: _Optional[int] = ...) -> None: ...
