"""Memory that was used once is not given back and fetched again."""

from __future__ import annotations

import subprocess
import sys

import pytest

_COUNT_FAULTS = """
import resource, sys
import numpy as np
from flashtalk.engine import keep_freed_memory, load_pipeline
if sys.argv[1] == "kept":
    assert keep_freed_memory()
audio = load_pipeline("tiny", device="cpu").audio
window = np.random.default_rng(0).normal(0, 0.1, 128_000).astype(np.float32)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    audio.batch_rows([window], 1)
before = faults()
for _ in range(3):
    audio.batch_rows([window], 1)
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of glibc is meant")
def test_the_blocks_of_a_chunk_cost_page_faults_only_once() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", _COUNT_FAULTS, how]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
        return int(done.stdout)

    assert faults("kept") < 1_000
    assert faults("as it is") > 5_000  # else this module does nothing
