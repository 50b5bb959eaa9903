"""Shared options of the tables of ``flashtalk bench``; imports nothing large."""

from __future__ import annotations

import argparse
from pathlib import Path

from flashtalk.cli.overlay_option import add_overlay_option
from flashtalk.presets import PRESET_HELP

PRECISIONS = ("auto", "bf16", "fp8", "fp32")


def add_pipeline_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the measured pipeline."""
    parser.add_argument("--preset", default="tiny", help=PRESET_HELP)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--weights", type=Path, help="folder of the weights (default for tiny: the shipped weights)"
    )
    source.add_argument(
        "--random", action="store_true", help="use random weights, generated on the device"
    )
    add_overlay_option(parser)
    parser.add_argument(
        "--size",
        help="video size WxH in pixels, multiples of 16 (default: the size of the weights)",
    )
    parser.add_argument(
        "--compile",
        default="off",
        choices=("on", "off"),
        help="compile the models with torch.compile (default off)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=PRECISIONS,
        help="precision of the models (default auto); fp8 needs a GPU that supports it",
    )
    parser.add_argument(
        "--device", default="auto", help="device: auto (default), cpu, cuda, cuda:1, ..."
    )
    parser.add_argument(
        "--threads", type=int, help="number of CPU threads of torch (default: torch's choice)"
    )


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
        help="also write a PNG chart with the same name (default yes)",
    )
