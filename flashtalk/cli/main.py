"""The dispatcher: one module per command, each with ``add_parser(subparsers)`` and ``run(args)``.

Exit codes: 0 done, 2 bad input (one line on stderr says what), 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from flashtalk import __version__
from flashtalk.errors import FlashTalkError

BAD_INPUT, INTERRUPTED = 2, 130
COMMANDS = ("generate", "talk", "doctor", "bench")


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, like every other bad input."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with 2."""
        self.exit(BAD_INPUT, f"{self.prog}: {message} (--help explains)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; ``None`` takes the process's own.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if argv is None else argv
    # OpenMP reads it when torch is first imported. Threads that spin while they wait make a run
    # on two cores 20 times slower as soon as another program wants one of them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        args = build_parser(words).parse_args(words)
        return int(args.run(args))
    except FlashTalkError as error:
        print(f"flashtalk: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for a command line; each command's parser sets ``run``.

    Args:
        words: the command line. Of the commands only the one that it names is imported, because
            some of them take seconds; all are, where it names none.
    """
    named = next((word for word in words if word in COMMANDS), None)
    parser = OneLineParser(
        prog="flashtalk",
        description="A portrait and speech become a video in which the portrait talks.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"flashtalk {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS if named is None else (named,):
        import_module(f"flashtalk.cli.{name}").add_parser(subparsers)
    return parser
