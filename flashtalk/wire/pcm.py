"""Converts audio samples to bytes and back.

Legend: S samples.
"""

from __future__ import annotations

import numpy as np

from flashtalk.errors import InputError
from flashtalk.streaming import Pcm
from flashtalk.v1 import media_pb2

_FULL_SCALE = 32_768


def pcm_from_bytes(data: bytes, encoding: int, field: str) -> Pcm:
    """Converts bytes of an ``AudioEncoding`` to float32 [S]; unspecified is 16 bit.

    Raises:
        InputError: a partial sample, an unknown encoding, samples that are not finite.
    """
    size = 4 if encoding == media_pb2.AUDIO_ENCODING_PCM_F32LE else 2
    if not data or len(data) % size:
        raise InputError(
            field,
            f"{len(data)} bytes",
            f"whole samples of {size} bytes, at least 1",
        )
    if encoding == media_pb2.AUDIO_ENCODING_PCM_F32LE:
        pcm_S = np.frombuffer(data, "<f4").astype(np.float32, copy=True)
        if not np.isfinite(pcm_S).all():
            raise InputError(field, "NaN or infinite samples", "finite samples")
        return pcm_S
    if encoding in (media_pb2.AUDIO_ENCODING_PCM_S16LE, media_pb2.AUDIO_ENCODING_UNSPECIFIED):
        # Exact, since the scale is a power of two; in one pass, since every packet is converted.
        scale = np.float32(1 / _FULL_SCALE)
        scaled: Pcm = np.multiply(np.frombuffer(data, "<i2"), scale, dtype=np.float32)
        return scaled
    raise InputError(field, encoding, "AUDIO_ENCODING_PCM_S16LE or AUDIO_ENCODING_PCM_F32LE")


def pcm_to_bytes(pcm_S: Pcm, encoding: int) -> bytes:
    """Converts float32 [S] to bytes of an ``AudioEncoding``; 16 bit are rounded and clipped.

    Raises:
        InputError: an unknown encoding.
    """
    if encoding == media_pb2.AUDIO_ENCODING_PCM_F32LE:
        return np.ascontiguousarray(pcm_S, "<f4").tobytes()
    if encoding in (media_pb2.AUDIO_ENCODING_PCM_S16LE, media_pb2.AUDIO_ENCODING_UNSPECIFIED):
        scaled = np.round(pcm_S * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1)
        return scaled.astype("<i2").tobytes()
    raise InputError("audio_encoding", encoding, "16-bit integer or 32-bit float")
