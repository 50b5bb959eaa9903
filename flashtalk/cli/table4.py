"""``flashtalk bench table4``: the report's Table 4 on this machine, with the machine's limits."""

from __future__ import annotations

import argparse

from flashtalk.cli.table_options import add_pipeline_options, add_report_options


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``table4`` to ``bench``."""
    parser = subparsers.add_parser(
        "table4",
        help="encode, decode and DiT step on some ranks, beside the machine's limits",
        description="Times of the VAE and of one evaluation of the transformer, as in the report's "
        "Table 4, with what the machine could do at best.",
        allow_abbrev=False,
    )
    add_pipeline_options(parser)
    parser.add_argument(
        "--ranks", default="1", metavar="N,..", help="numbers of devices, one row each (default 1)"
    )
    parser.add_argument(
        "--warmup", type=int, default=2, help="calls before those that count (default 2)"
    )
    parser.add_argument("--repeats", type=int, default=10, help="calls that count (default 10)")
    add_report_options(parser, "table4")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures, writes the JSON and the chart, prints the tables."""
    from flashtalk.cli.table4_run import table4

    return table4(args)
