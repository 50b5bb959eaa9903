"""``flashtalk bench cycle``: the report's Figure 6 on this machine, and the start of a stream."""

from __future__ import annotations

import argparse

from flashtalk.cli.table_options import add_pipeline_options, add_report_options


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``cycle`` to ``bench``."""
    parser = subparsers.add_parser(
        "cycle",
        help="measure every stage of a chunk, and the start of a stream",
        description="Measure the time of each stage of a chunk, as in the report's Figure 6, "
        "the audio that a stream needs before its first frame, and the compute "
        "time after it.",
        allow_abbrev=False,
    )
    add_pipeline_options(parser)
    parser.add_argument(
        "--steps", type=int, help="denoising steps per chunk (default: of the weights)"
    )
    parser.add_argument(
        "--warmup", type=int, default=3, help="number of unmeasured chunks (default 3)"
    )
    parser.add_argument(
        "--chunks", type=int, default=10, help="number of measured chunks (default 10)"
    )
    add_report_options(parser, "cycle")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures, writes the JSON and the chart, prints the tables."""
    from flashtalk.cli.cycle_run import cycle

    return cycle(args)
