"""The health probe: what it imports, and what it says of arguments that cannot be used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import patient

# Runs main() once for each list of arguments, in one process that tells what it has imported.
TRIES = """
import contextlib, io, json, sys
from services.health.__main__ import main
for words in json.load(sys.stdin):
    sys.argv[1:] = words
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            code = main()
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, said.getvalue()]))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
LARGE = {"torch", "numpy", "google", "pydantic", "flashtalk", "opentelemetry", "av"}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> tuple[list[str], set[str]]:
    """The lines of all tries, and the packages that were imported."""
    folder = tmp_path_factory.mktemp("files")
    text = folder / "text"
    text.write_text("no certificate")
    port = ["--port", "1"]
    tries = [
        [],
        ["--port", "0"],
        ["--port", "many"],
        [*port, "--timeout-s", "0"],
        [*port, "--timeout-s", "nan"],
        [*port, "--tls-name", "worker"],
        [*port, "--tls-ca", str(text), "--tls-cert", str(text)],
        [*port, "--tls-ca", str(text)],
        [*port, "--tls-ca", str(folder / "none")],
        [*port, "--tls-ca", str(folder)],
        [*port, "--unknown"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", TRIES],
        input=json.dumps(tries),
        capture_output=True,
        text=True,
        cwd=repo_root,
        timeout=patient(60),
        check=True,
    )
    *answers, modules = map(json.loads, done.stdout.splitlines())
    assert [code for code, _ in answers] == [2] * len(tries), answers
    return [said for _, said in answers], set(modules)


def test_arguments_that_cannot_be_used_are_one_line(tried: tuple[list[str], set[str]]) -> None:
    for said in tried[0]:
        assert said.startswith("health: ")
        assert said.count("\n") == 1


def test_it_imports_nothing_that_takes_time(tried: tuple[list[str], set[str]]) -> None:
    assert "grpc" in tried[1]
    assert tried[1] & LARGE == set()
