from flashtalk.v1 import media_pb2 as _media_pb2
from flashtalk.v1 import tensor_pb2 as _tensor_pb2
from flashtalk.v1 import worker_pb2 as _worker_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EncodeReferenceRequest(_message.Message):
    __slots__ = ("portrait",)
    PORTRAIT_FIELD_NUMBER: _ClassVar[int]
    portrait: _media_pb2.RgbImage
    def __init__(self, portrait: _Optional[_Union[_media_pb2.RgbImage, _Mapping]] = ...) -> None: ...

class EncodeReferenceResponse(_message.Message):
    __slots__ = ("reference_latents", "color")
    REFERENCE_LATENTS_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    reference_latents: _tensor_pb2.Tensor
    color: _tensor_pb2.Tensor
    def __init__(self, reference_latents: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., color: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class DecodeRequest(_message.Message):
    __slots__ = ("key", "latents", "color", "video_codec", "frames", "motion_only", "reverse")
    KEY_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    VIDEO_CODEC_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    MOTION_ONLY_FIELD_NUMBER: _ClassVar[int]
    REVERSE_FIELD_NUMBER: _ClassVar[int]
    key: _worker_pb2.ChunkKey
    latents: _tensor_pb2.Tensor
    color: _tensor_pb2.Tensor
    video_codec: _media_pb2.VideoCodec
    frames: int
    motion_only: bool
    reverse: bool
    def __init__(self, key: _Optional[_Union[_worker_pb2.ChunkKey, _Mapping]] = ..., latents: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., color: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., video_codec: _Optional[_Union[_media_pb2.VideoCodec, str]] = ..., frames: _Optional[int] = ..., motion_only: _Optional[bool] = ..., reverse: _Optional[bool] = ...) -> None: ...

class DecodedFrame(_message.Message):
    __slots__ = ("index", "video", "key_frame")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    KEY_FRAME_FIELD_NUMBER: _ClassVar[int]
    index: int
    video: bytes
    key_frame: bool
    def __init__(self, index: _Optional[int] = ..., video: _Optional[bytes] = ..., key_frame: _Optional[bool] = ...) -> None: ...

class DecodedFrames(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[DecodedFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[DecodedFrame, _Mapping]]] = ...) -> None: ...

class DecodeResult(_message.Message):
    __slots__ = ("motion_latents", "compute_s")
    class ComputeSEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MOTION_LATENTS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_S_FIELD_NUMBER: _ClassVar[int]
    motion_latents: _tensor_pb2.Tensor
    compute_s: _containers.ScalarMap[str, float]
    def __init__(self, motion_latents: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., compute_s: _Optional[_Mapping[str, float]] = ...) -> None: ...

class DecodeResponse(_message.Message):
    __slots__ = ("decoded", "result")
    DECODED_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    decoded: DecodedFrames
    result: DecodeResult
    def __init__(self, decoded: _Optional[_Union[DecodedFrames, _Mapping]] = ..., result: _Optional[_Union[DecodeResult, _Mapping]] = ...) -> None: ...
