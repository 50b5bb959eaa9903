"""Detects the audio format of a byte stream: a container, or raw samples without a header.

Most formats begin with a magic number that does not occur by chance. MPEG audio has only eleven
such bits, which loud samples may contain. So its frames are checked: each states its length, and
the next one must begin after it.
"""

from __future__ import annotations

from collections.abc import Callable

SNIFFED_BYTES = 4_096
"""Number of first bytes that are enough to detect the format."""

_RIFF_KINDS = {b"WAVE": "wav", b"AVI ": "avi"}
_FORM_KINDS = {b"AIFF": "aiff", b"AIFC": "aiff"}
_ISO_BOXES = frozenset({b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"moof"})
_INDEX_BOXES = frozenset({b"moov", b"moof", b"styp"})
_STARTS = {
    b"ID3": "mp3",
    b"OggS": "ogg",
    b"fLaC": "flac",
    b"\x1a\x45\xdf\xa3": "webm",
    b".snd": "au",
    b"dns.": "au",
    b"caff": "caf",
    b"riff\x2e\x91\xcf\x11": "w64",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "wma",
    b"FLV\x01": "flv",
    b"#!AMR": "amr",
    b"wvpk": "wavpack",
    b"TTA1": "tta",
    b"MAC ": "ape",
    b"ADIF": "aac",
    b"\x00\x00\x01\xba": "mpeg",
}
_TS_PACKET_BYTES = 188

# Bit rates of MPEG-1 and MPEG-2, by layer; 0 is "free", which is not used in practice.
_KBIT_PER_S = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG1_HZ = (44_100, 48_000, 32_000)
_SLOWER = {3: 1, 2: 2, 0: 4}  # by the bits of the version: MPEG-1, MPEG-2, MPEG-2.5
# At the first byte two frames are sufficient; a recording that begins inside a frame needs more.
_FRAMES_AT_START, _FRAMES_INSIDE = 2, 4

Header = tuple[int, int]
"""Bytes of a frame, and what stays the same from frame to frame."""


def container_of(first_bytes: bytes) -> str | None:
    """Returns the audio format of the first bytes of a stream.

    Args:
        first_bytes: the first ``SNIFFED_BYTES`` bytes, or the whole stream.

    Returns:
        A short name (``wav``, ``mp3``, ``ogg``, ``mp4``, ...); None for bytes without a header,
        which may be samples.
    """
    if first_bytes[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return _RIFF_KINDS.get(first_bytes[8:12])
    if first_bytes[:4] == b"FORM":
        return _FORM_KINDS.get(first_bytes[8:12])
    if first_bytes[4:8] in _ISO_BOXES:
        return "mp4"
    for start, kind in _STARTS.items():
        if first_bytes.startswith(start):
            return kind
    if _is_transport_stream(first_bytes):
        return "mpegts"
    for kind, header in (("mp3", mpeg_header), ("aac", adts_header)):
        if _follows(first_bytes, 0, header, _FRAMES_AT_START, to_end=True):
            return kind
        if _begins_inside(first_bytes, header):
            return kind
    return None


def is_indexed_at_end(first_bytes: bytes) -> bool:
    """Whether this is an MP4 that cannot be decoded before it is complete."""
    if container_of(first_bytes) != "mp4":
        return False
    at = 0
    while len(box := first_bytes[at : at + 8]) == 8:
        if box[4:] in _INDEX_BOXES:
            return False
        at += max(int.from_bytes(box[:4], "big"), 8)
    return True


def mpeg_header(data: bytes, at: int) -> Header | None:
    """Parses the header of a frame of MPEG audio, layers 1 to 3, at an offset."""
    if len(data) < at + 4 or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return None
    version, layer = data[at + 1] >> 3 & 3, 4 - (data[at + 1] >> 1 & 3)
    rate, hz_index, padding = data[at + 2] >> 4, data[at + 2] >> 2 & 3, data[at + 2] >> 1 & 1
    if version == 1 or layer == 4 or rate in (0, 15) or hz_index == 3:
        return None
    if data[at + 3] & 3 == 2:  # a reserved emphasis
        return None
    generation = 1 if version == 3 else 2
    hz = _MPEG1_HZ[hz_index] // _SLOWER[version]
    bits_per_s = 1_000 * _KBIT_PER_S[generation, layer][rate - 1]
    if layer == 1:
        size = (12 * bits_per_s // hz + padding) * 4
    else:
        samples = 576 if layer == 3 and generation == 2 else 1_152
        size = samples // 8 * bits_per_s // hz + padding
    return size, data[at + 1] & 0xFE | hz_index << 8


def adts_header(data: bytes, at: int) -> Header | None:
    """Parses the header of an ADTS frame of AAC at an offset."""
    if len(data) < at + 7 or data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0:
        return None
    size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    if data[at + 2] >> 2 & 15 > 12 or size < 8:
        return None
    return size, data[at + 1] << 16 | (data[at + 2] & 0xFD) << 8 | data[at + 3] & 0xC0


def _follows(
    data: bytes,
    at: int,
    header: Callable[[bytes, int], Header | None],
    frames: int,
    *,
    to_end: bool,
) -> bool:
    """Whether ``frames`` frames of one kind follow each other at an offset, or all to the end."""
    kind = None
    for found in range(frames):
        frame = header(data, at)
        if frame is None:
            return to_end and found > 0 and at == len(data)
        if kind is not None and frame[1] != kind:
            return False
        kind, at = frame[1], at + frame[0]
    return True


def _begins_inside(data: bytes, header: Callable[[bytes, int], Header | None]) -> bool:
    at = data.find(b"\xff", 1)
    while at >= 0:
        if _follows(data, at, header, _FRAMES_INSIDE, to_end=False):
            return True
        at = data.find(b"\xff", at + 1)
    return False


def _is_transport_stream(data: bytes) -> bool:
    starts = data[: 5 * _TS_PACKET_BYTES : _TS_PACKET_BYTES]
    return len(starts) >= 3 and set(starts) == {0x47}
