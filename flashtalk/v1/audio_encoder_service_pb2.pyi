from flashtalk.v1 import tensor_pb2 as _tensor_pb2
from flashtalk.v1 import worker_pb2 as _worker_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EncodeRequest(_message.Message):
    __slots__ = ("key", "pcm")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PCM_FIELD_NUMBER: _ClassVar[int]
    key: _worker_pb2.ChunkKey
    pcm: _tensor_pb2.Tensor
    def __init__(self, key: _Optional[_Union[_worker_pb2.ChunkKey, _Mapping]] = ..., pcm: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("features", "compute_s")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_S_FIELD_NUMBER: _ClassVar[int]
    features: _tensor_pb2.Tensor
    compute_s: float
    def __init__(self, features: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., compute_s: _Optional[float] = ...) -> None: ...
