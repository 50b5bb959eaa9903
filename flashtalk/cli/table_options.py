"""Shared options of the tables of ``flashtalk bench``; imports nothing large."""

from __future__ import annotations

import argparse
from pathlib import Path

from flashtalk.presets import PRESET_HELP

PRECISIONS = ("auto", "bf16", "fp8", "fp32")


def add_pipeline_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the measured pipeline."""
    parser.add_argument("--preset", default="tiny", help=PRESET_HELP)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--weights", type=Path, help="folder of the weights; tiny brings its own")
    source.add_argument("--random", action="store_true", help="random weights, drawn on the device")
    parser.add_argument("--size", help="WxH in pixels, multiples of 16; default the weights' own")
    parser.add_argument(
        "--compile", default="off", choices=("on", "off"), help="torch.compile (default off)"
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=PRECISIONS,
        help="of the models; fp8 needs a GPU that has it",
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, ...")
    parser.add_argument("--threads", type=int, help="of torch; default its own choice")


def add_report_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Adds the options of the output files."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(f"out/{name}.json"),
        help="JSON file to write (default %(default)s)",
    )
    parser.add_argument(
        "--chart",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also draw a PNG beside it (default yes)",
    )
