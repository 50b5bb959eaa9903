"""Is a WAV file complete? FFmpeg plays a cut-off one without a word, so its header is read here."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_CHUNK_HEADER = struct.Struct("<4sI")
_MOST_CHUNKS = 1_000
# Programs that write to a pipe do not know the length and put something near these there.
_UNKNOWN_FROM = 0x7FFF_0000


def missing_wav_bytes(path: Path) -> int:
    """How many bytes of its sound a WAV file states but does not hold.

    Returns:
        0 for a complete file, for one that leaves its length open (0, or close to 2^31 or 2^32),
        and for anything that is not a plain RIFF WAVE file.
    """
    with path.open("rb") as file:
        riff = file.read(12)
        if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
            return 0
        stated = _stated_sound_bytes(file)
        held = path.stat().st_size - file.tell()
    if stated == 0 or stated >= _UNKNOWN_FROM:
        return 0
    return max(stated - held, 0)


def _stated_sound_bytes(file: BinaryIO) -> int:
    """Size in the header of the data chunk, the file standing behind it; 0 if there is none."""
    for _ in range(_MOST_CHUNKS):
        header = file.read(_CHUNK_HEADER.size)
        if len(header) < _CHUNK_HEADER.size:
            return 0
        name, size = _CHUNK_HEADER.unpack(header)
        if name == b"data":
            return int(size)
        file.seek(size + size % 2, 1)
    return 0
