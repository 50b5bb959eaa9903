"""Selects the speech features around each video frame (report section 3.1)."""

from __future__ import annotations

import numpy as np

from flashtalk.arrays import IntArray
from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec


def window_indices(start: int, end: int, total: int, width: int) -> IntArray:
    """Rows of features around the frames ``start`` to ``end``.

    A window is cut off at row 0 and at ``end``, not at ``start``: while streaming, a frame has real
    past on its left and, at the end of the chunk, no future.

    Args:
        start, end: the frames, counted in rows of the features; ``end`` is exclusive.
        total: number of rows.
        width: rows per window, odd; the frame's own row is in the middle.

    Returns:
        int64 [end - start, width].

    Raises:
        InputError: an empty or impossible range, or an even width.
    """
    if not 0 <= start < end <= total:
        raise InputError("frames", f"{start} to {end}", f"a range within {total} rows")
    if width < 1 or width % 2 == 0:
        raise InputError("width", width, "must be odd")
    offsets = np.arange(width, dtype=np.int64) - width // 2
    rows = np.arange(start, end, dtype=np.int64)[:, None] + offsets
    return rows.clip(0, end - 1)


def chunk_window_indices(spec: StreamSpec) -> IntArray:
    """Rows of a window of ``spec.window_s`` seconds that show its last chunk, [33, 5]."""
    rows = spec.window_s * spec.fps
    return window_indices(rows - spec.chunk_frames, rows, rows, spec.audio_window)
