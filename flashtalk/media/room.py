"""Checks disk space for the end of a video: its index comes last and grows with the video.

A video without its index is lost as a whole, so writing stops while there is still space for it.
"""

from __future__ import annotations

import os
from pathlib import Path

from flashtalk.errors import InputError

# Maximum index size for one picture and its audio; and for everything else.
_INDEX_BYTES_PER_FRAME = 64
_SPARE_BYTES = 256 * 1024
# Size of a picture inside the encoder: a quarter of its raw 4:2:0 bytes (H W 3 / 2).
_HELD_BYTES_PER_PIXEL = 0.375


class DiskFullError(InputError):
    """There is no space for another frame; the video so far can be finished."""


def free_bytes(folder: Path) -> int | None:
    """Returns the bytes that this process may still write to a folder's disk; ``None``: unknown."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    if not disk.f_blocks:  # virtual file systems report only zeros
        return None
    return disk.f_frsize * (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail)


class Room:
    """Monitors the disk that a video is written to.

    Args:
        path: path of the video, for errors.
        folder: the folder that it is written to.
        size_hw: height and width of its pictures in pixels.
    """

    def __init__(self, path: Path, folder: Path, size_hw: tuple[int, int]) -> None:
        self._path, self._folder = path, folder
        self._held_bytes = size_hw[0] * size_hw[1] * _HELD_BYTES_PER_PIXEL

    def check(self, frames: int, held_frames: int, more_bytes: int) -> None:
        """Checks the space for one more frame and for the end of the video.

        Args:
            frames: number of frames so far.
            held_frames: those of them that are still inside the encoder.
            more_bytes: size of the frame, if known.

        Raises:
            DiskFullError: there is not enough space.
        """
        index = (frames + 1) * _INDEX_BYTES_PER_FRAME
        held = (held_frames + 1) * self._held_bytes
        free = free_bytes(self._folder)
        if free is not None and free < _SPARE_BYTES + index + held + more_bytes:
            limit = f"the disk is full; the video ends after {frames} frames"
            if not frames:
                limit = "not writable (No space left on device)"
            raise DiskFullError("out", self._path, limit)
