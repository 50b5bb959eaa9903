"""Writes helm/flashtalk/dashboards; ``--check`` only tests whether it is up to date.

Usage: python -m scripts.make_dashboards [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.dashboards.panels import dashboard
from scripts.dashboards.process_rows import process_rows
from scripts.dashboards.stream_rows import stream_rows

FOLDER = Path(__file__).resolve().parents[1] / "helm/flashtalk/dashboards"


def dashboards() -> dict[str, str]:
    """Returns the JSON of every dashboard by file name."""
    about = (
        "Talking-avatar streams: latency first, then its causes. Described in "
        "docs/observability.md."
    )
    rows = [*stream_rows(), *process_rows()]
    made = {"flashtalk.json": dashboard("FlashTalk", "flashtalk", about, rows)}
    return {name: json.dumps(one, indent=1) + "\n" for name, one in made.items()}


def differences() -> list[str]:
    """Returns names of files that differ, are missing or are not generated."""
    kept = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    made = dashboards()
    return sorted(name for name in kept.keys() | made.keys() if kept.get(name) != made.get(name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 if ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only check; change no file")
    if parser.parse_args(arguments).check:
        found = differences()
        if found:
            print(f"out of date (run `make dashboards`): {', '.join(found)}")
        return int(bool(found))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
