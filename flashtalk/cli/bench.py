"""``flashtalk bench``: measures each stage on this machine, and memory over a long stream.

Exit codes: 0 done, 1 the memory of a long stream (``--minutes``) was not flat.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flashtalk.cli import capacity, cycle, stream, table4
from flashtalk.presets import PRESET_HELP

DTYPES = {"auto": "auto", "fp32": "float32", "bf16": "bfloat16", "fp8": "float8"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``bench`` to the commands."""
    parser = subparsers.add_parser(
        "bench",
        help="measure each stage on this machine",
        description="Measure each stage of the chunk loop; docs/performance.md explains the table.",
        allow_abbrev=False,
    )
    parser.add_argument("--preset", default="tiny", help=PRESET_HELP)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--weights", type=Path, help="folder of the weights; tiny brings its own")
    source.add_argument("--random", action="store_true", help="random weights of the preset")
    parser.add_argument("--image", type=Path, help="portrait; default a drawn one")
    parser.add_argument("--audio", type=Path, help="sound, repeated; default a drawn one")
    parser.add_argument("--size", help="WxH in pixels, multiples of 16")
    parser.add_argument("--chunks", type=int, default=20, help="chunks counted (default 20)")
    parser.add_argument("--warmup", type=int, default=3, help="chunks made before (default 3)")
    parser.add_argument("--guidance", type=float, help="audio guidance; 1 is none")
    parser.add_argument("--steps", type=int, help="network evaluations per chunk")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, ...")
    parser.add_argument("--dtype", default="auto", choices=DTYPES, help="of the models")
    parser.add_argument(
        "--compile", default="off", choices=("on", "off"), help="torch.compile transformer and VAE"
    )
    parser.add_argument(
        "--attention", default="auto", help="kernel; doctor lists those of this machine"
    )
    parser.add_argument("--threads", type=int, help="of torch; default its own choice")
    parser.add_argument(
        "--minutes", type=float, help="also stream so many minutes of sound and watch the memory"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.set_defaults(run=run)
    tables = parser.add_subparsers(metavar="TABLE", help="instead of the stages of `bench`:")
    for table in (table4, cycle, stream, capacity):
        table.add_parser(tables)


def run(args: argparse.Namespace) -> int:
    """Measures, writes the JSON, prints the tables; returns the exit code."""
    from flashtalk.cli.bench_run import bench

    return bench(args)
