"""A rank ends with its exit code and its words, and leaves its interpreter standing."""

from __future__ import annotations

import subprocess
import sys

from tests.patience import patient

# One interpreter is started and copied for each case: its imports take the time of this test.
PROGRAM = """
import atexit, os
from training.core.world import end_process
for launched in (True, False):
    if not os.fork():
        if launched:
            os.environ["TORCHELASTIC_RUN_ID"] = "1"
        atexit.register(lambda: os._exit(9))
        print("done", launched)
        end_process(3)
    print("code", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


def test_only_a_rank_leaves_its_interpreter_standing() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=patient(120)
    )
    assert ended.stdout.splitlines() == ["done True", "code 3", "done False", "code 9"], (
        ended.stderr
    )
    assert ended.returncode == 0
