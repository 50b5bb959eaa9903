"""A service that was started by another program ends with it, even when that one is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent_pid: int) -> bool:
    """Asks the kernel for SIGTERM when the parent ends (Linux only; elsewhere nothing happens).

    Done here, in the service, and not between fork and exec by whoever starts it: forking a program
    that has gRPC's threads is not safe.

    Args:
        parent_pid: whose child this process should be; 0 asks for nothing.

    Returns:
        False if that process has ended already.
    """
    if not parent_pid or sys.platform != "linux":
        return True
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == parent_pid
