"""Generates flashtalk/v1 from protos/; ``--check`` only tests whether it is up to date."""

from __future__ import annotations

import argparse
import filecmp
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "protos"
PACKAGE = Path("flashtalk/v1")
MODULE = '"""Generated from protos/flashtalk/v1 by `make protos`; never edited."""\n'


def generate(out: Path) -> None:
    """Writes the package into ``out``/flashtalk/v1. Raises RuntimeError if protoc fails."""
    sources = sorted(str(path) for path in (SOURCES / PACKAGE).glob("*.proto"))
    services = [source for source in sources if source.endswith("_service.proto")]
    (out / PACKAGE).mkdir(parents=True, exist_ok=True)
    includes = ["-I", str(SOURCES), "-I", str(files("grpc_tools") / "_proto")]
    messages = ["--python_out", str(out), "--pyi_out", str(out)]
    for arguments in ([*messages, *sources], ["--grpc_python_out", str(out), *services]):
        if protoc.main(["protoc", *includes, *arguments]):
            raise RuntimeError("protoc failed")
    (out / PACKAGE / "__init__.py").write_text(MODULE, encoding="utf-8")


def differences(made: Path, kept: Path) -> list[str]:
    """Returns names of files that differ, are missing or are not generated."""
    names = {path.name for folder in (made, kept) for path in folder.iterdir() if path.is_file()}
    _, different, absent = filecmp.cmpfiles(made, kept, sorted(names), shallow=False)
    return sorted([*different, *absent])


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 if ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only check; change no file")
    if not parser.parse_args(arguments).check:
        for stale in (ROOT / PACKAGE).glob("*_pb2*"):
            stale.unlink()
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        found = differences(Path(folder) / PACKAGE, ROOT / PACKAGE)
    if found:
        print(f"flashtalk/v1 is out of date (run `make protos`): {', '.join(found)}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
