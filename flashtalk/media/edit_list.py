"""The edit lists of an MP4: which part of a track plays when (ISO/IEC 14496-12, 8.6.6).

FFmpeg applies them, but treats an empty edit that is not the first one as the beginning of the
track: instead of a pause, the first words are repeated. This module finds tracks with such an edit,
so that the caller can apply the list itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import IO

from flashtalk.media.riff_header import Ahead

_MOST_INDEX_BYTES = 2**24
"""Limit of ``moov``; that of hours of sound has a few hundred kilobytes."""
_MOST_BOXES = 10_000
_HEADER_BYTES = 16
_EMPTY = -1
_WITHOUT_LIST = frozenset({b"mdat", b"moof"})


@dataclass(frozen=True)
class Edit:
    """One entry of the list.

    Args:
        duration_s: duration; None for the rest of the track.
        media_s: start position in the track; None for an empty edit, which is silence.
    """

    duration_s: Fraction | None
    media_s: Fraction | None


Edits = tuple[Edit, ...]


def late_pauses(file: IO[bytes]) -> dict[int, Edits]:
    """Returns the edit lists of a complete MP4 with a pause after their first sound, by track ID.

    Args:
        file: seekable, at any position; for other formats the result is empty.
    """
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(_HEADER_BYTES)
        box = _box(head)
        if box is None:
            break
        name, skipped, size = box
        if name == b"moov":
            file.seek(at + skipped)
            return _late_pauses(file.read(min(size or _MOST_INDEX_BYTES, _MOST_INDEX_BYTES)))
        if not size:
            break
        at += size
    return {}


def late_pauses_ahead(ahead: Ahead) -> dict[int, Edits]:
    """Like ``late_pauses``, for an MP4 in a pipe with its index before its audio.

    Waits for the index, which is needed for the first sample anyway, and consumes nothing.
    """
    at = 0
    while at < _MOST_INDEX_BYTES:
        box = _box(ahead.look(at + _HEADER_BYTES)[at:])
        if box is None or box[0] in _WITHOUT_LIST:
            break
        name, skipped, size = box
        if name == b"moov" and size <= _MOST_INDEX_BYTES:
            return _late_pauses(ahead.look(at + size)[at + skipped :])
        if not size:
            break
        at += size
    return {}


def _late_pauses(index: bytes) -> dict[int, Edits]:
    """Like ``late_pauses``, from the contents of ``moov``."""
    movie_hz, tracks = 0, dict[int, Edits]()
    for name, movie_box in _boxes(index):
        if name == b"mvhd":
            movie_hz = _ticks_per_s(movie_box)
        elif name == b"trak" and movie_hz:
            boxes = dict(_boxes(movie_box))
            header = boxes.get(b"tkhd", b"")
            number = _word(header, 20 if header[:1] == b"\1" else 12)
            media_hz = _ticks_per_s(dict(_boxes(boxes.get(b"mdia", b""))).get(b"mdhd", b""))
            listed = dict(_boxes(boxes.get(b"edts", b""))).get(b"elst", b"")
            if media_hz:
                edits = tuple(_edits(listed, movie_hz, media_hz))
                if _pauses_late(edits):
                    tracks[number] = edits
    return tracks


def _pauses_late(edits: Edits) -> bool:
    sound = [number for number, edit in enumerate(edits) if edit.media_s is not None]
    return bool(sound) and any(edit.media_s is None for edit in edits[sound[0] :])


def _edits(listed: bytes, movie_hz: int, media_hz: int) -> Iterator[Edit]:
    entry = struct.Struct(">Qqi" if listed[:1] == b"\1" else ">Iii")
    last = min(8 + _word(listed, 4) * entry.size, len(listed))
    for at in range(8, last - entry.size + 1, entry.size):
        duration, media, _rate = entry.unpack_from(listed, at)
        if media < _EMPTY or (not duration and media == _EMPTY):
            continue
        yield Edit(
            Fraction(duration, movie_hz) if duration else None,
            None if media == _EMPTY else Fraction(media, media_hz),
        )


def _box(head: bytes) -> tuple[bytes, int, int] | None:
    """Parses a box: name, bytes of the header, and bytes of the whole box (0: to the end)."""
    size, name = _word(head, 0), head[4:8]
    if size == 1 and len(head) >= _HEADER_BYTES:
        return name, _HEADER_BYTES, max(int.from_bytes(head[8:16], "big"), _HEADER_BYTES)
    if len(name) < 4 or 0 < size < 8:
        return None
    return name, 8, size


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields name and contents of consecutive boxes."""
    at = 0
    while box := _box(data[at : at + _HEADER_BYTES]):
        name, skipped, size = box
        end = at + size if size else len(data)
        yield name, data[at + skipped : end]
        at = end


def _ticks_per_s(header: bytes) -> int:
    """Returns the time scale of ``mvhd`` or ``mdhd``."""
    return _word(header, 20 if header[:1] == b"\1" else 12)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big") if len(data) >= at + 4 else 0
