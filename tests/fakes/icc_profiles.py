"""Colour profiles written byte by byte (ICC.1:2001), small and with known colours."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

# Primaries in XYZ at D50, by column red, green, blue: colour.org's numbers for each space.
SRGB_XYZ = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
DISPLAY_P3_XYZ = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
ADOBE_RGB_XYZ = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
D50_XYZ = (0.9642, 1.0, 0.8249)
SRGB_GAMMA = 2.2


def matrix_profile(columns: tuple[tuple[float, float, float], ...], gamma: float) -> bytes:
    """An RGB display: three primaries and one curve."""
    tags = {name: _xyz(xyz) for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    return _profile(
        b"mntr", b"RGB ", b"XYZ ", {**tags, **_curves(gamma, b"rTRC", b"gTRC", b"bTRC")}
    )


def grey_profile(gamma: float) -> bytes:
    """A grey display."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", _curves(gamma, b"kTRC"))


def cmyk_profile(lightness: float = 50.0) -> bytes:
    """A printer: the more ink of any kind, the darker, and all full inks are ``lightness``/4."""
    grid = np.indices((2, 2, 2, 2)).reshape(4, -1).sum(axis=0)
    lightness_16 = 255 * (1 - grid / 4 * (1 - lightness / 400))
    lab = np.stack((lightness_16, np.full(16, 128.0), np.full(16, 128.0)), axis=1)
    ramp = bytes(range(256))
    identity = np.eye(3).reshape(-1)
    head = struct.pack(">4sI4B", b"mft1", 0, 4, 3, 2, 0)
    matrix = b"".join(struct.pack(">i", round(value * 65_536)) for value in identity)
    table = lab.round().astype(np.uint8).tobytes()
    return _profile(
        b"prtr", b"CMYK", b"Lab ", {b"A2B0": head + matrix + ramp * 4 + table + ramp * 3}
    )


def _curves(gamma: float, *names: bytes) -> dict[bytes, bytes]:
    body = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    return dict.fromkeys(names, body)


def _xyz(xyz: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65_536) for value in xyz))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    text = b"made for a test\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78 + 1)
    tags = {b"desc": described, b"wtpt": _xyz(D50_XYZ), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    begin = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", begin + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = begin + len(body)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, kind, space, connection)
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", *(round(value * 65_536) for value in D50_XYZ))
    return header.ljust(128, b"\0") + table + body
