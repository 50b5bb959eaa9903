"""``flashtalk bench table4``: the report's Table 4 on this machine, with the machine's limits."""

from __future__ import annotations

import argparse

from flashtalk.cli.table_options import add_pipeline_options, add_report_options


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``table4`` to ``bench``."""
    parser = subparsers.add_parser(
        "table4",
        help="measure VAE and DiT step for several numbers of ranks",
        description="Measure VAE encode, VAE decode and one denoising step, as in the "
        "report's Table 4, and compare with the limits of the machine.",
        allow_abbrev=False,
    )
    add_pipeline_options(parser)
    parser.add_argument(
        "--ranks",
        default="1",
        metavar="N,..",
        help="numbers of ranks, one row each, comma-separated (default 1)",
    )
    parser.add_argument(
        "--warmup", type=int, default=2, help="number of unmeasured calls (default 2)"
    )
    parser.add_argument(
        "--repeats", type=int, default=10, help="number of measured calls (default 10)"
    )
    add_report_options(parser, "table4")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures, writes the JSON and the chart, prints the tables."""
    from flashtalk.cli.table4_run import table4

    return table4(args)
