"""How a process that computes on the CPU keeps its memory.

glibc gives large blocks back to the system when they are freed, and every chunk asks for the same
ones again: 6,000 page faults for the speech features of one chunk, a quarter of their time. What
was used once is kept instead; a chunk's needs do not grow, so neither does the process. Blocks
that are too large for that come in pages of 2 MiB instead of 4 KiB (THP_MEM_ALLOC_ENABLE, set by
entry points before torch is imported): a product of 56 MB took 23 ms in small pages, 5 in large.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 256 << 20
_LARGEST_BLOCK_BYTES = 32 << 20  # the most that glibc takes


def keep_freed_memory() -> bool:
    """Tells this process's allocator; once, at its beginning. False where it cannot be told."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False  # not glibc
    # One arena: the others, of threads, are cut up into heaps that are given back all the same.
    wanted = (
        (_M_TRIM_THRESHOLD, _KEPT_BYTES),
        (_M_MMAP_THRESHOLD, _LARGEST_BLOCK_BYTES),
        (_M_ARENA_MAX, 1),
    )
    return all(bool(mallopt(name, value)) for name, value in wanted)
