"""Room on a disk for the end of a video: its index comes last and is as long as the video.

A video whose index finds no place is lost as a whole, so that writing ends while there is room.
"""

from __future__ import annotations

import os
from pathlib import Path

from flashtalk.errors import InputError

# Sizes, times and places of one picture and its sound in the index, at most; and all the rest.
_INDEX_BYTES_PER_FRAME = 64
_SPARE_BYTES = 256 * 1024
# Of a picture that the encoder still holds: a quarter of its raw 4:2:0 bytes (H W 3 / 2).
_HELD_BYTES_PER_PIXEL = 0.375


class DiskFullError(InputError):
    """There is no room for another frame; what was written before can be finished."""


def free_bytes(folder: Path) -> int | None:
    """What this process may still write to the disk of a folder; ``None`` where nobody knows."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    if not disk.f_blocks:  # file systems that are no disk say nothing but zeros
        return None
    return disk.f_frsize * (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail)


class Room:
    """Watches the disk that a video is written to.

    Args:
        path: of the video, for errors.
        folder: where it is written.
        size_hw: height and width of its pictures in pixels.
    """

    def __init__(self, path: Path, folder: Path, size_hw: tuple[int, int]) -> None:
        self._path, self._folder = path, folder
        self._held_bytes = size_hw[0] * size_hw[1] * _HELD_BYTES_PER_PIXEL

    def check(self, frames: int, held_frames: int, more_bytes: int) -> None:
        """Is there room for one more frame and for the end of the video?

        Args:
            frames: written so far.
            held_frames: of these, those that the encoder has not given out yet.
            more_bytes: what the frame needs, if that is known.

        Raises:
            DiskFullError: there is not.
        """
        index = (frames + 1) * _INDEX_BYTES_PER_FRAME
        held = (held_frames + 1) * self._held_bytes
        free = free_bytes(self._folder)
        if free is not None and free < _SPARE_BYTES + index + held + more_bytes:
            limit = f"the disk is full; the video ends after {frames} frames"
            if not frames:
                limit = "not writable (No space left on device)"
            raise DiskFullError("out", self._path, limit)
