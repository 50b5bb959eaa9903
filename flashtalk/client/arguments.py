"""Converts arguments of callers to the form that is sent; other types raise TypeError.

Legend: S samples.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flashtalk.errors import InputError
from flashtalk.streaming import Pcm
from flashtalk.v1 import media_pb2
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.wire import pcm_from_bytes

Bytes = bytes | bytearray | memoryview
Portrait = str | os.PathLike[str] | Bytes
Sound = npt.NDArray[Any] | Bytes | Sequence[float]
SessionName = str | pb.Session

_SOUND_TYPES = (
    "must be floats in [-1, 1] or 16-bit integers as a numpy array, list, tuple or "
    "array.array, or bytes of 16-bit little-endian samples"
)
_FULL_SCALE = 32_768


async def portrait_bytes(portrait: Portrait) -> bytes:
    """Returns the bytes of a picture file.

    Raises:
        TypeError: neither a path nor bytes.
        InputError: an unreadable file.
    """
    if isinstance(portrait, bytes | bytearray | memoryview):
        return bytes(portrait)
    if isinstance(portrait, str | os.PathLike):
        return await asyncio.to_thread(_read, Path(portrait))
    raise TypeError(
        f"portrait: {_kind(portrait)}: must be a path (str or Path) or the bytes of a picture "
        "file (bytes, bytearray or memoryview)"
    )


def session_name(session: SessionName) -> str:
    """Returns the id of a session. Raises TypeError for other types than session and id."""
    if isinstance(session, pb.Session):
        return str(session.session_id)
    if isinstance(session, str):
        return session
    raise TypeError(f"session_id: {_kind(session)}: must be a str or a Session")


def samples(sound: Sound) -> Pcm:
    """Returns one channel of audio as float32 [S].

    Args:
        sound: floats in [-1, 1] of any precision, or 16-bit integers, as an array or a list (a
            list of integers counts as 16-bit); or bytes of 16-bit little-endian samples, as for
            ``pcm_from_bytes``.

    Raises:
        TypeError: another type.
        InputError: more than one axis, half a sample, integers beyond 16 bits, NaN or infinity.
    """
    if isinstance(sound, memoryview) and sound.format not in ("B", "b", "c"):
        sound = np.asarray(sound)
    if isinstance(sound, bytes | bytearray | memoryview):
        data = bytes(sound)
        return _of_bytes(data) if data else np.zeros(0, np.float32)
    given = _array(sound)
    if given.ndim != 1:
        raise InputError(
            "audio", f"{given.dtype} {list(given.shape)}", "must be one channel, [samples]"
        )
    if given.dtype.kind == "i":
        if given.dtype.itemsize != 2 and isinstance(sound, np.ndarray):
            raise TypeError(f"audio: array of {given.dtype}: {_SOUND_TYPES}")
        if len(given) and not -_FULL_SCALE <= int(given.min()) <= int(given.max()) < _FULL_SCALE:
            raise InputError(
                "audio", "integers outside 16 bits", f"must be {-_FULL_SCALE} .. 32767"
            )
        return given.astype(np.float32) / np.float32(_FULL_SCALE)
    with np.errstate(over="ignore"):
        pcm_S = given.astype(np.float32)
    if not np.isfinite(pcm_S).all():
        raise InputError("audio", "NaN or infinite samples", "finite samples")
    return pcm_S


def _array(sound: Any) -> npt.NDArray[Any]:
    if isinstance(sound, str) or not (hasattr(sound, "__len__") or hasattr(sound, "__array__")):
        raise TypeError(f"audio: {_kind(sound)}: {_SOUND_TYPES}")
    try:
        given = np.asarray(sound)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise TypeError(f"audio: {_kind(sound)}: {_SOUND_TYPES}") from error
    if given.dtype.kind not in "fi":
        raise TypeError(f"audio: {_kind(sound)} of {given.dtype}: {_SOUND_TYPES}")
    return given


def _of_bytes(data: bytes) -> Pcm:
    return pcm_from_bytes(data, media_pb2.AUDIO_ENCODING_PCM_S16LE, "audio")


def _kind(value: object) -> str:
    return type(value).__name__


def _read(path: Path) -> bytes:
    """Reads a file. Raises InputError for an unreadable one."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("image", path, reason) from error
