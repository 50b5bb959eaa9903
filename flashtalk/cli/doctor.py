"""``flashtalk doctor``: whether this machine is ready, for which preset; what weights contain."""

from __future__ import annotations

import argparse
from pathlib import Path

from flashtalk.cli.overlay_option import add_overlay_option
from flashtalk.presets import PRESET_HELP


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``doctor`` to the commands."""
    parser = subparsers.add_parser(
        "doctor",
        help="show versions, devices, memory, codecs and kernels, and whether each preset fits; "
        "examine weights",
        description="Examine this machine and show what FlashTalk can run on it. Exits with "
        "code 1 if a kernel in use gives wrong results. With --weights, --preset or --overlay: "
        "examine weights instead and show their parts. Exits with code 2 if the transformer "
        "cannot be loaded from them.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--weights", type=Path, help="folder of the weights (default for tiny: the shipped weights)"
    )
    parser.add_argument("--preset", help=PRESET_HELP)
    add_overlay_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the report, of the machine or of weights.

    Returns:
        1 if a kernel that the engine uses is wrong here; else 0: a small machine is not an error.
    """
    if args.weights or args.preset or args.overlay:
        from flashtalk.cli.doctor_weights import report_weights

        return report_weights(args)
    from flashtalk.cli.doctor_report import report

    return report(as_json=args.json)
