"""Gives a track of an MP4 another edit list, box by box."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

Entry = tuple[float, float | None]
"""Seconds, and where in the track they begin; None for an empty edit."""


def with_edits(path: Path, edits: Sequence[Entry], *, version: int = 0) -> Path:
    """Replace the edit list of every track of sound.

    Args:
        path: an MP4 or MOV whose index stands behind its sound.
        edits: the entries.
        version: 1 has times of 64 bits.
    """
    data = path.read_bytes()
    boxes = _split(data)
    old = next(contents for name, contents in boxes if name == b"moov")
    movie_hz = _ticks_per_s(dict(_split(old))[b"mvhd"])
    assert [name for name, _ in boxes][-1] == b"moov", "places in the file would move"
    new = _moov(old, edits, movie_hz, version)
    whole = (_box(name, new if name == b"moov" else contents) for name, contents in boxes)
    path.write_bytes(b"".join(whole))
    return path


def _moov(old: bytes, edits: Sequence[Entry], movie_hz: int, version: int) -> bytes:
    return b"".join(
        _box(name, _trak(contents, edits, movie_hz, version) if name == b"trak" else contents)
        for name, contents in _split(old)
    )


def _trak(old: bytes, edits: Sequence[Entry], movie_hz: int, version: int) -> bytes:
    mdia = dict(_split(old))[b"mdia"]
    media_hz = _ticks_per_s(dict(_split(mdia))[b"mdhd"])
    entry = struct.Struct(">Qqi" if version else ">Iii")
    listed = struct.pack(">B3xI", version, len(edits))
    for seconds, begin_s in edits:
        begin = -1 if begin_s is None else round(begin_s * media_hz)
        listed += entry.pack(round(seconds * movie_hz), begin, 1 << 16)
    kept = [(name, contents) for name, contents in _split(old) if name != b"edts"]
    kept.insert(1, (b"edts", _box(b"elst", listed)))
    return b"".join(_box(name, contents) for name, contents in kept)


def _split(data: bytes) -> list[tuple[bytes, bytes]]:
    boxes, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        boxes.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return boxes


def _box(name: bytes, contents: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(contents), name) + contents


def _ticks_per_s(header: bytes) -> int:
    at = 20 if header[0] else 12
    return int.from_bytes(header[at : at + 4], "big")
