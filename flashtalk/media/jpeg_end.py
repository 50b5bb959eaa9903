"""Checks whether a JPEG file without an end marker contains the whole picture.

The decoder silently fills missing data with grey. So such a file is decoded twice, once with other
bytes appended. If the picture is complete, these bytes have no effect; if not, the result differs.
"""

from __future__ import annotations

import random
import re

START, END = b"\xff\xd8\xff", b"\xff\xd9"
_SCAN, _RESTART_INTERVAL, _END = 0xDA, 0xDD, 0xD9
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# Inside a scan a marker is an 0xFF that is neither stuffed nor a restart.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_FILLER_BYTES, _LEAST_PIECE_BYTES = 2**21, 16
# The last bit of a coefficient of a progressive file may be missing: the error is invisible.
_UNSEEN_BITS = 1


class JpegEnd:
    """The end of a JPEG file.

    Args:
        data: content of the file; begins with ``START``.

    Attributes:
        found: whether the file has an end marker.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._restart_blocks, self._blocks = 0, 0
        self._scan_at = 0
        self._unsent: dict[tuple[int, bool], int] = {}
        self._components: tuple[int, ...] = ()
        self.found = self._walk()
        if not self.found:
            # Half a marker, or half of a stuffed 0xFF.
            self._data = self._data.rstrip(b"\xff")

    def complete(self) -> bytes:
        """Returns the file with an end marker."""
        return self._data if self.found else self._data + END

    def filled(self) -> bytes:
        """Returns the file with other bytes between its last byte and the end marker."""
        noise = random.Random(0).randbytes(_FILLER_BYTES).replace(b"\xff", b"\x55")
        if not self._restart_blocks:
            return self._data + noise + END
        # A restart limits the effect of other bytes, so every restart interval needs some.
        count = self._blocks // self._restart_blocks + 1
        size = max(_FILLER_BYTES // count, _LEAST_PIECE_BYTES)
        found = _RESTART.findall(self._data, self._scan_at)
        number = found[-1][1] - 0xD0 + 1 if found else 0
        pieces = (noise[:size] + bytes((0xFF, 0xD0 + (number + k) % 8)) for k in range(count))
        return self._data + b"".join(pieces) + END

    def has_all_scans(self) -> bool:
        """Whether the last relevant scan has begun; a progressive file has many scans."""
        parts = [(number, fine) for number in self._components for fine in (False, True)]
        sent = (self._unsent.get(part, _UNSEEN_BITS + 1) <= _UNSEEN_BITS for part in parts)
        return bool(parts) and all(sent)

    def _walk(self) -> bool:
        data, at = self._data, 2
        while at + 4 <= len(data):
            if data[at] != 0xFF:
                at += 1
                continue
            marker = data[at + 1]
            if marker == _END:
                return True
            if marker == 0xFF or marker in _ALONE:
                at += 1 if marker == 0xFF else 2
                continue
            size = int.from_bytes(data[at + 2 : at + 4], "big")
            if at + 2 + size > len(data) and self._scan_at:
                # The file ends inside the header of one more scan.
                self._data = data[:at]
                return False
            self._segment(marker, data[at + 4 : at + 2 + size])
            at += 2 + size
            if marker == _SCAN:
                self._scan_at = at
                following = _MARKER.search(data, at)
                at = following.start() if following else len(data)
        return data[at : at + 2] == END

    def _segment(self, marker: int, body: bytes) -> None:
        if marker == _RESTART_INTERVAL:
            self._restart_blocks = int.from_bytes(body[:2], "big")
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) > 5:
            high, wide = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            self._blocks = (high // 8 + 1) * (wide // 8 + 1)
            self._components = tuple(body[6::3][: body[5]])
        elif marker == _SCAN and body and len(body) >= 4 + 2 * body[0]:
            first, last, bits = body[1 + 2 * body[0] : 4 + 2 * body[0]]
            for number in body[1 : 1 + 2 * body[0] : 2]:
                for fine in {first > 0, last > 0}:
                    self._unsent[number, fine] = bits & 15
