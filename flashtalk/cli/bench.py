"""``flashtalk bench``: measures each stage on this machine, and memory over a long stream.

Exit codes: 0 done, 1 the memory of a long stream (``--minutes``) was not flat.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flashtalk.cli import capacity, cycle, stream, table4
from flashtalk.cli.overlay_option import add_overlay_option
from flashtalk.presets import PRESET_HELP

DTYPES = {"auto": "auto", "fp32": "float32", "bf16": "bfloat16", "fp8": "float8"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``bench`` to the commands."""
    parser = subparsers.add_parser(
        "bench",
        help="measure each stage on this machine",
        description="Measure each stage of the chunk loop. docs/performance.md explains the table.",
        allow_abbrev=False,
    )
    parser.add_argument("--preset", default="tiny", help=PRESET_HELP)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--weights", type=Path, help="folder of the weights (default for tiny: the shipped weights)"
    )
    source.add_argument(
        "--random", action="store_true", help="use random weights of the preset's sizes"
    )
    add_overlay_option(parser)
    parser.add_argument("--image", type=Path, help="portrait (default: a generated picture)")
    parser.add_argument(
        "--audio", type=Path, help="speech file, repeated as needed (default: a synthetic tone)"
    )
    parser.add_argument(
        "--size",
        help="video size WxH in pixels, multiples of 16 (default: the size of the weights)",
    )
    parser.add_argument(
        "--chunks", type=int, default=20, help="number of measured chunks (default 20)"
    )
    parser.add_argument(
        "--warmup", type=int, default=3, help="number of unmeasured chunks before them (default 3)"
    )
    parser.add_argument(
        "--guidance",
        type=float,
        help="audio guidance scale; 1 disables guidance (default: of the weights)",
    )
    parser.add_argument(
        "--steps", type=int, help="denoising steps per chunk (default: of the weights)"
    )
    parser.add_argument(
        "--device", default="auto", help="device: auto (default), cpu, cuda, cuda:1, ..."
    )
    parser.add_argument(
        "--dtype", default="auto", choices=DTYPES, help="precision of the models (default auto)"
    )
    parser.add_argument(
        "--compile",
        default="off",
        choices=("on", "off"),
        help="compile transformer and VAE with torch.compile (default off)",
    )
    parser.add_argument(
        "--attention",
        default="auto",
        help="attention kernel (default auto); `flashtalk doctor` lists those of this machine",
    )
    parser.add_argument(
        "--threads", type=int, help="number of CPU threads of torch (default: torch's choice)"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help="also generate this many minutes of video and measure memory growth",
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.set_defaults(run=run)
    tables = parser.add_subparsers(
        metavar="TABLE", help="measure one of these tables instead of the stages:"
    )
    for table in (table4, cycle, stream, capacity):
        table.add_parser(tables)


def run(args: argparse.Namespace) -> int:
    """Measures, writes the JSON, prints the tables; returns the exit code."""
    from flashtalk.cli.bench_run import bench

    return bench(args)
