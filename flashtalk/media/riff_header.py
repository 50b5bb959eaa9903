"""Parses the header of a WAV file, also with unpadded chunks or wrong lengths."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Protocol

KINDS = (b"RIFF", b"RF64", b"BW64")
RIFF_BYTES = 12
UNKNOWN = 0xFFFF_FFFF
_UNKNOWN_FROM = 0x7FFF_0000
_CHUNK = struct.Struct("<4sI")
_FMT = struct.Struct("<HHIIHH")
_KNOWN = frozenset({*KINDS, b"data", b"fmt ", b"fact", b"LIST", b"ds64", b"bext", b"cue ", b"JUNK"})
_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9 _-]{3}")
_MOST_CHUNKS, _MOST_FMT_BYTES, _MOST_SEARCHED_BYTES = 1_000, 4_096, 2**16
_MOST_CHECKED_BYTES, _MOST_CHUNK_BYTES = 2**20, 2**28
_READ_BYTES = 2**16
_WHOLE_BYTES = frozenset({1, 3})  # uncompressed samples: integers and floats
_RAW_FORMATS = {
    (1, 1): "u8",
    (1, 2): "s16le",
    (1, 3): "s24le",
    (1, 4): "s32le",
    (3, 4): "f32le",
    (3, 8): "f64le",
    (6, 1): "alaw",
    (7, 1): "mulaw",
}
_EXTENSIBLE, _SUBTYPE_AT = 0xFFFE, 24


class ByteReader(Protocol):
    """A file or a pipe, read from its current position."""

    def read(self, size: int, /) -> bytes:
        """Returns at most ``size`` bytes; none at the end."""


class Ahead:
    """A reader with lookahead.

    Args:
        source: positioned at the first byte.
        held: bytes that were read from it before.
    """

    def __init__(self, source: ByteReader, held: bytes = b"") -> None:
        self._source, self._held, self.ended = source, held, False

    def look(self, size: int) -> bytes:
        """Returns the next bytes without consuming them; fewer only at the end."""
        if len(self._held) < size and not self.ended:
            pieces, length = [self._held], len(self._held)
            while length < size:
                piece = self._source.read(_READ_BYTES)
                if not piece:
                    self.ended = True
                    break
                pieces.append(piece)
                length += len(piece)
            self._held = b"".join(pieces)
        return self._held[:size]

    def held(self) -> bytes:
        """Returns the available bytes, after waiting for at most one."""
        self.look(1)
        return self._held

    def read(self, size: int, /) -> bytes:
        """Consumes available bytes, at most ``size``; none at the end."""
        taken, self._held = self.held()[:size], self._held[size:]
        return taken

    def skip(self, size: int) -> None:
        """Skips ``size`` bytes, or to the end."""
        while size > 0 and (taken := self.read(size)):
            size -= len(taken)


@dataclass(frozen=True)
class WavHeader:
    """The header before the audio.

    Args:
        fmt: contents of the ``fmt`` chunk.
        stated_bytes: length of the audio; 0 if open.
        unfinished: whether the length of the whole file is open, so that this one may be wrong.
    """

    fmt: bytes
    stated_bytes: int
    unfinished: bool = False

    @property
    def pcm_hz(self) -> int:
        """Samples per second."""
        return int.from_bytes(self.fmt[4:8], "little")

    @property
    def bytes_per_s(self) -> int:
        """Bytes of audio per second."""
        return max(int.from_bytes(self.fmt[8:12], "little"), 1)

    @property
    def step_bytes(self) -> int:
        """Bytes of one sample of every channel; 1 for compressed audio."""
        if _tag(self.fmt) not in _WHOLE_BYTES:
            return 1
        return max(int.from_bytes(self.fmt[12:14], "little"), 1)

    @property
    def raw_format(self) -> str | None:
        """FFmpeg's name of the raw sample format; None for compressed audio."""
        bits = int.from_bytes(self.fmt[14:16], "little")
        return _RAW_FORMATS.get((_tag(self.fmt), (bits + 7) // 8))

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int.from_bytes(self.fmt[2:4], "little")

    def begin(self) -> bytes:
        """Returns the header of a file with an open length."""
        size, unknown = struct.pack("<I", len(self.fmt)), struct.pack("<I", UNKNOWN)
        return b"RIFF" + unknown + b"WAVEfmt " + size + self.fmt + b"data" + unknown


def is_wav(data: bytes) -> bool:
    """Whether the data begin with a WAV header."""
    return data[:4] in KINDS and data[8:RIFF_BYTES] == b"WAVE"


def is_chunk(data: bytes) -> bool:
    """Whether the data begin with the name of a chunk."""
    return _NAME.fullmatch(data[:4]) is not None


def read_header(source: Ahead) -> WavHeader | None:
    """Reads up to the first byte of the audio; returns None if there is none.

    Args:
        source: positioned at a header (``is_wav``).
    """
    stated_riff = int.from_bytes(source.look(RIFF_BYTES)[4:8], "little")
    large = source.look(4) != b"RIFF"
    source.skip(RIFF_BYTES)
    fmt, stated_large = b"", 0
    for _ in range(_MOST_CHUNKS):
        head = source.look(_CHUNK.size) if _leads_on(source) else _search_data(source)
        if len(head) < _CHUNK.size:
            return None
        name, size = _CHUNK.unpack(head)
        source.skip(_CHUNK.size)
        if name == b"data":
            stated = stated_large if large and size == UNKNOWN else int(size)
            if stated >= (2**62 if large else _UNKNOWN_FROM):
                stated = 0
            unfinished = not large and not 0 < stated_riff < _UNKNOWN_FROM
            return WavHeader(_mended(fmt), stated, unfinished) if fmt else None
        if name == b"fmt ":
            fmt = source.look(min(size, _MOST_FMT_BYTES))
        elif name == b"ds64":
            stated_large = int.from_bytes(source.look(16)[8:16], "little")
        skip_chunk(source, int(size))
    return None


def skip_chunk(source: Ahead, size: int) -> None:
    """Skips the contents of a chunk and its padding byte, if there is one."""
    source.skip(size)
    if size % 2 and source.look(4) not in _KNOWN:
        source.skip(1)


def _leads_on(source: Ahead) -> bool:
    """Whether a chunk begins here and another one follows it."""
    head = source.look(_CHUNK.size)
    size = int.from_bytes(head[4:], "little")
    if not is_chunk(head) or head[:4] == b"data":
        return is_chunk(head)
    if size > _MOST_CHECKED_BYTES:
        return size <= _MOST_CHUNK_BYTES
    end = _CHUNK.size + size
    behind = source.look(end + 5)[end:]
    return is_chunk(behind) or is_chunk(behind[1:])


def _search_data(source: Ahead) -> bytes:
    """Searches nearby for the chunk of the audio after a wrong length."""
    near = source.look(_MOST_SEARCHED_BYTES)
    at = near.find(b"data")
    if at < 0:
        return b""
    source.skip(at)
    return source.look(_CHUNK.size)


def _mended(fmt: bytes) -> bytes:
    """Recomputes the dependent sizes of uncompressed formats."""
    if len(fmt) < _FMT.size or _tag(fmt) not in _WHOLE_BYTES:
        return fmt
    tag, channels, pcm_hz, _, _, bits = _FMT.unpack_from(fmt)
    step = channels * ((bits + 7) // 8)
    per_s = min(pcm_hz * step, UNKNOWN)
    if not 0 < step < 2**16:
        return fmt
    return _FMT.pack(tag, channels, pcm_hz, per_s, step, bits) + fmt[_FMT.size :]


def _tag(fmt: bytes) -> int:
    tag = int.from_bytes(fmt[:2], "little")
    if tag == _EXTENSIBLE and len(fmt) >= _SUBTYPE_AT + 2:
        return int.from_bytes(fmt[_SUBTYPE_AT : _SUBTYPE_AT + 2], "little")
    return tag
