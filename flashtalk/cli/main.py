"""The dispatcher: one module per command, each with ``add_parser(subparsers)`` and ``run(args)``.

These modules and this one import almost nothing, so that ``--help`` is fast; ``run`` imports what
the command needs. Exit codes: ``flashtalk.terminal``.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence

from flashtalk import __version__
from flashtalk.cli import bench, doctor, generate, talk
from flashtalk.terminal import OneLineParser, debugging, guarded

API_KEY_VARIABLE = "FLASHTALK_API_KEY"
COMMANDS = (generate, talk, doctor, bench)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: arguments without the program's name; ``None``: the process's own.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if argv is None else argv
    # OpenMP reads it when torch is first imported. Threads that spin while waiting make a run on
    # two cores 20 times slower as soon as another program needs one of them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A few microseconds of spinning are useful: a chunk calls thousands of small kernels, and
    # sleeping between them took a third of its time.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # torch reads it at its first allocation: large tensors use pages of 2 MiB if the system has
    # them. Faults of 4 KiB pages cost several times as much as writing the pages.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    return guarded("flashtalk", lambda: _run(words))


def _run(words: Sequence[str]) -> int:
    # Never an argument: other users of the machine can read arguments.
    known = argparse.Namespace(api_key=os.environ.get(API_KEY_VARIABLE, "").strip())
    args = build_parser().parse_args(words, known)
    with warnings.catch_warnings():
        if not debugging():
            # Warnings of libraries are for programmers; users cannot act on them.
            warnings.simplefilter("ignore")
            if not logging.root.handlers:
                logging.root.addHandler(logging.NullHandler())
        return int(args.run(args))


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands; each command's parser sets ``run``."""
    parser = OneLineParser(
        prog="flashtalk",
        description="Generate talking-avatar video from a portrait and speech.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"flashtalk {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser
