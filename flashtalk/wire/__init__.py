"""Converts arrays, audio and pictures to messages and back; checks shapes and values (numpy)."""

from flashtalk.wire.pcm import pcm_from_bytes, pcm_to_bytes
from flashtalk.wire.pictures import image_from_proto, image_to_proto
from flashtalk.wire.tensors import tensor_from_proto, tensor_to_proto

__all__ = [
    "image_from_proto",
    "image_to_proto",
    "pcm_from_bytes",
    "pcm_to_bytes",
    "tensor_from_proto",
    "tensor_to_proto",
]
