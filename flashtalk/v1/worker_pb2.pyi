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
    __slots__ = ("worker_id", "role", "preset", "weights_digest", "sizes", "session_slots", "chunk_s", "default_prompt", "pending", "accepts_prompt")
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
    def __init__(self, worker_id: _Optional[str] = ..., role: _Optional[str] = ..., preset: _Optional[str] = ..., weights_digest: _Optional[str] = ..., sizes: _Optional[_Iterable[_Union[_media_pb2.VideoSize, _Mapping]]] = ..., session_slots: _Optional[int] = ..., chunk_s: _Optional[float] = ..., default_prompt: _Optional[str] = ..., pending: _Optional[int] = ..., accepts_prompt: _Optional[bool] = ...) -> None: ...
