"""Help and bad options are there at once: nothing large is imported for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from flashtalk.engine import PRESETS
from flashtalk.engine.placement import DTYPES
from flashtalk.presets import PRECISIONS

LARGE = (
    "torch",
    "transformers",
    "av",
    "scipy",
    "grpc",
    "numpy",
    "PIL",
    "rich",
    "psutil",
    "google.protobuf",
    "asyncio",
)
PROGRAM = """
import sys
from flashtalk.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as stopped:
    code = stopped.code
print(code, *sys.modules, file=sys.stderr)
"""


def imported(words: Sequence[str]) -> tuple[int, set[str]]:
    """The exit code of a command and the modules of its process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True
    )
    code, *modules = done.stderr.splitlines()[-1].split()
    return int(code), set(modules)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["generate", "--help"],
        ["talk", "--help"],
        ["doctor", "--help"],
        ["bench", "--help"],
        ["bench", "capacity", "--help"],
        ["bench", "table4", "--help"],
        ["bench", "cycle", "--help"],
        ["bench", "stream", "--help"],
        ["generate"],
        ["generate", "--seed", "x"],
        ["nothing"],
    ],
    ids=" ".join,
)
def test_help_and_bad_options_import_nothing_large(words: list[str]) -> None:
    code, modules = imported(words)
    assert code == (0 if words[-1] in ("--help", "--version") else 2)
    assert modules.isdisjoint(LARGE)


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "--image", "none", "--audio", "none", "--out", "none"],
        ["talk", "--image", "none", "--audio", "none", "--out", "none"],
    ],
    ids=lambda words: words[0],
)
def test_bad_files_are_told_before_torch_is_imported(words: list[str]) -> None:
    code, modules = imported(words)
    assert code == 2
    assert modules.isdisjoint({"torch", "transformers", "scipy"})


def test_the_names_that_are_checked_early_are_those_of_the_engine() -> None:
    assert tuple(DTYPES) == PRECISIONS
    assert PRESETS == ("tiny", "flashtalk-14b", "flashhead-1.3b", "flashhead-1.3b-lite")
