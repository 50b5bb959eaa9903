"""Memory that was used once is not given back and fetched again.

Asked of the allocator itself: not every kernel counts page faults (a sandbox reports none). The
process that is asked has the one module, without the libraries that the engine brings along.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from flashtalk.engine import host_memory
from tests.patience import patient

_BLOCKS, _BLOCK_BYTES = 5, 20 << 20

_HOLD_AND_FREE = f"""
import ctypes, runpy, sys

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd",
        "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.mallinfo2.restype = Mallinfo2
if sys.argv[1] == "kept":
    assert runpy.run_path({host_memory.__file__!r})["keep_freed_memory"]()
for block in [libc.malloc({_BLOCK_BYTES}) for _ in range({_BLOCKS})]:
    libc.free(block)
print(libc.mallinfo2().fordblks)
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the allocator of glibc is meant"
)
def test_freed_blocks_of_a_chunks_size_stay_with_the_process() -> None:
    def free_bytes_held(how: str) -> int:
        command = [sys.executable, "-c", _HOLD_AND_FREE, how]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=patient(100), check=True
        )
        return int(done.stdout)

    assert free_bytes_held("kept") >= _BLOCKS * _BLOCK_BYTES
    assert free_bytes_held("as it is") < _BLOCK_BYTES  # else the module does nothing
