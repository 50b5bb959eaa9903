"""A rank of a pod that stands still in the middle of a chunk while its watch goes on.

Usage: the arguments are its module and what that is given. It stands still as long as the file that
``FLASHTALK_TEST_HANG`` names (``RANK:PATH``) is there, if it is that rank.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from unittest import mock

from services.pod import Pod
from tests.fakes.forked_child import run_module
from tests.patience import wait_until

VARIABLE = "FLASHTALK_TEST_HANG"
_FOR_EVER_S = 1e6
_agree = Pod.agree


def agree_or_hang(pod: Pod, wanted: bool) -> bool:
    """Instead of ``Pod.agree``."""
    rank, _, path = os.environ[VARIABLE].partition(":")  # noqa: TID251 - the test's own setting
    if str(pod.rank) == rank:
        wait_until(lambda: not Path(path).exists(), _FOR_EVER_S)
    return _agree(pod, wanted)


if __name__ == "__main__":
    with mock.patch.object(Pod, "agree", agree_or_hang):
        run_module(sys.argv[1:])
