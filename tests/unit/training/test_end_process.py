"""A rank ends with its exit code and its words, and leaves its interpreter standing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import atexit, os
from training.core.world import end_process
atexit.register(lambda: os._exit(9))
print("done")
end_process(3)
"""


@pytest.mark.parametrize(("launched", "code"), [(True, 3), (False, 9)])
def test_only_a_rank_leaves_its_interpreter_standing(launched: bool, code: int) -> None:
    environment = dict(os.environ)  # noqa: TID251 - what a shell would hand on
    environment |= {"TORCHELASTIC_RUN_ID": "1"} if launched else {}
    command = [sys.executable, "-c", PROGRAM]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120
    )  # fmt: skip
    assert ended.stdout == "done\n"
    assert ended.returncode == code, ended.stderr
