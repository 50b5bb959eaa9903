from flashtalk.v1 import media_pb2 as _media_pb2
from flashtalk.v1 import tensor_pb2 as _tensor_pb2
from flashtalk.v1 import worker_pb2 as _worker_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Conditioning(_message.Message):
    __slots__ = ("digest", "image_tokens", "text_tokens", "reference_latents")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    IMAGE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_LATENTS_FIELD_NUMBER: _ClassVar[int]
    digest: str
    image_tokens: _tensor_pb2.Tensor
    text_tokens: _tensor_pb2.Tensor
    reference_latents: _tensor_pb2.Tensor
    def __init__(self, digest: _Optional[str] = ..., image_tokens: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., text_tokens: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., reference_latents: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class PortraitSource(_message.Message):
    __slots__ = ("portrait", "prompt", "reference_latents")
    PORTRAIT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_LATENTS_FIELD_NUMBER: _ClassVar[int]
    portrait: _media_pb2.RgbImage
    prompt: str
    reference_latents: _tensor_pb2.Tensor
    def __init__(self, portrait: _Optional[_Union[_media_pb2.RgbImage, _Mapping]] = ..., prompt: _Optional[str] = ..., reference_latents: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class ConditionRequest(_message.Message):
    __slots__ = ("portrait", "conditioning")
    PORTRAIT_FIELD_NUMBER: _ClassVar[int]
    CONDITIONING_FIELD_NUMBER: _ClassVar[int]
    portrait: PortraitSource
    conditioning: Conditioning
    def __init__(self, portrait: _Optional[_Union[PortraitSource, _Mapping]] = ..., conditioning: _Optional[_Union[Conditioning, _Mapping]] = ...) -> None: ...

class ConditionResponse(_message.Message):
    __slots__ = ("conditioning",)
    CONDITIONING_FIELD_NUMBER: _ClassVar[int]
    conditioning: Conditioning
    def __init__(self, conditioning: _Optional[_Union[Conditioning, _Mapping]] = ...) -> None: ...

class DenoiseRequest(_message.Message):
    __slots__ = ("key", "seed", "conditioning_digest", "features", "motion_latents")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CONDITIONING_DIGEST_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    MOTION_LATENTS_FIELD_NUMBER: _ClassVar[int]
    key: _worker_pb2.ChunkKey
    seed: int
    conditioning_digest: str
    features: _tensor_pb2.Tensor
    motion_latents: _tensor_pb2.Tensor
    def __init__(self, key: _Optional[_Union[_worker_pb2.ChunkKey, _Mapping]] = ..., seed: _Optional[int] = ..., conditioning_digest: _Optional[str] = ..., features: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., motion_latents: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class DenoiseResponse(_message.Message):
    __slots__ = ("latents", "compute_s")
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_S_FIELD_NUMBER: _ClassVar[int]
    latents: _tensor_pb2.Tensor
    compute_s: float
    def __init__(self, latents: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., compute_s: _Optional[float] = ...) -> None: ...
