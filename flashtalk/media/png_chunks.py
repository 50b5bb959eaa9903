"""Removes unneeded chunks of PNG files: Pillow rejects a picture because of a large text.

Image chunks are kept and checked by Pillow; of the others only those with the orientation are kept.
A wrong checksum in the others does not reject the picture, and a file may end after its last pixel.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Sizes of a transparent colour, by the colour type of the header.
_CLEAR_BYTES = {0: (2,), 2: (6,), 3: range(1, 257)}
_COLOR_TYPE_AT = 25
_HEAD, _CRC_BYTES = struct.Struct(">I4s"), 4
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# Texts with EXIF and XMP, which may contain the orientation.
_TURN_KEYS = (b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp")
_MOST_TEXT_BYTES, _MOST_PROFILE_BYTES = 2**19, 2**25


@dataclass(frozen=True)
class Png:
    """A PNG file that Pillow accepts, and its colour profile."""

    data: bytes
    profile: bytes | None


def plain_png(data: bytes) -> Png:
    """Returns a PNG file without unneeded chunks.

    Args:
        data: content of the file; begins with ``SIGNATURE``; may be damaged.
    """
    kept, profile, ended = [SIGNATURE], None, False
    at = len(SIGNATURE)
    while at + _HEAD.size <= len(data) and not ended:
        size, name = _HEAD.unpack_from(data, at)
        body_at, end = at + _HEAD.size, at + _HEAD.size + size + _CRC_BYTES
        body = data[body_at : body_at + size]
        ended = name == b"IEND"
        if name == b"IDAT" and end > len(data):
            # Pillow checks whether pixels are missing.
            kept.append(_chunk(name, body))
        elif name[:1].isupper():
            kept.append(data[at:end])
        elif name == b"tRNS" and size in _CLEAR_BYTES.get(data[_COLOR_TYPE_AT], ()):
            kept.append(_chunk(name, body))
        elif name == b"iCCP":
            profile = profile or _profile(body)
        elif name == b"eXIf" or (name in _TEXTS and _says_turn(name, body)):
            kept.append(_chunk(name, body))
        at = end
    if not ended:
        kept.append(_chunk(b"IEND", b""))
    return Png(b"".join(kept), profile)


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(name))
    return _HEAD.pack(len(body), name) + body + checksum.to_bytes(_CRC_BYTES, "big")


def _profile(body: bytes) -> bytes | None:
    """Returns the content of an iCCP chunk; None if it is damaged or too large."""
    _, _, packed = body.partition(b"\0")
    return _unpacked(packed[1:], _MOST_PROFILE_BYTES)


def _says_turn(name: bytes, body: bytes) -> bool:
    """Whether a text contains the orientation and has a size that Pillow accepts."""
    key, _, rest = body.partition(b"\0")
    if key not in _TURN_KEYS or len(body) > _MOST_TEXT_BYTES:
        return False
    if name == b"zTXt":
        return _unpacked(rest[1:], _MOST_TEXT_BYTES) is not None
    if name == b"iTXt" and rest[:1] == b"\1":
        packed = rest[2:].split(b"\0", 2)[-1]
        return _unpacked(packed, _MOST_TEXT_BYTES) is not None
    return True


def _unpacked(packed: bytes, most_bytes: int) -> bytes | None:
    unpacker = zlib.decompressobj()
    with contextlib.suppress(zlib.error):
        data = unpacker.decompress(packed, most_bytes)
        if unpacker.eof:
            return data
    return None
