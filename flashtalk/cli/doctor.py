"""``flashtalk doctor``: reports whether this machine is ready, and for which preset."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``doctor`` to the commands."""
    parser = subparsers.add_parser(
        "doctor",
        help="show versions, devices, memory, codecs and kernels, and whether each preset fits",
        description="Examine this machine and show what FlashTalk can run on it. Exits with "
        "code 1 if a kernel in use gives wrong results.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the report.

    Returns:
        1 if a kernel that the engine uses is wrong here; else 0: a small machine is not an error.
    """
    from flashtalk.cli.doctor_report import report

    return report(as_json=args.json)
