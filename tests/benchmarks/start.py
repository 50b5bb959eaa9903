"""How long a person waits for ``--help``, and how much memory that takes.

``python -m tests.benchmarks.start [--runs N] [--out FILE]``; what is imported is a test
(tests/unit/cli/test_light_commands.py), the times are only printed here.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("--help", "generate --help", "talk --help", "doctor --help", "bench --help")


def measured(words: str) -> tuple[float, float]:
    """Seconds and MiB of one process."""
    began_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "flashtalk.cli", *words.split()], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    took_s = time.perf_counter() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return took_s, usage.ru_maxrss / 1024


def main() -> int:
    """Print the median of each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    results = {}
    for words in COMMANDS:
        runs = [measured(words) for _ in range(options.runs)]
        seconds, mib = (statistics.median(values) for values in zip(*runs, strict=True))
        results[words] = {"p50_s": seconds, "memory_mib": mib}
        print(f"flashtalk {words:16} {seconds:6.3f} s {mib:7.1f} MiB")
    if options.out is not None:
        options.out.write_text(json.dumps({"format": 1, "results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
