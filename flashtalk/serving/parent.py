"""Ends a service together with the program that started it, even if that program is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent_pid: int) -> bool:
    """Requests SIGTERM from the kernel when the parent ends (Linux only; no effect elsewhere).

    The service does this itself, not its parent between fork and exec: forking a program with
    gRPC's threads is not safe.

    Args:
        parent_pid: process id of the parent; 0 for no request.

    Returns:
        False if the parent has ended already.
    """
    if not parent_pid or sys.platform != "linux":
        return True
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == parent_pid
