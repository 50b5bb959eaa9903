"""``flashtalk talk``: a client of a running suite; portrait and sound file to an MP4."""

from __future__ import annotations

import argparse
from pathlib import Path

from flashtalk.cli.gateway_options import add_gateway_options


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``talk`` to the commands."""
    parser = subparsers.add_parser(
        "talk",
        help="generate an MP4 through a running suite",
        description="Generate a talking video through a running suite. Writes MP4 (H.264, AAC).",
        allow_abbrev=False,
    )
    add_gateway_options(parser)
    parser.add_argument("--image", required=True, type=Path, help="portrait, a picture file")
    parser.add_argument(
        "--audio",
        required=True,
        help="speech: an audio file or pipe, - for standard input; a pipe without a header "
        "must contain 16-bit little-endian mono samples at 16 kHz",
    )
    parser.add_argument(
        "--out",
        required=True,
        help="output video, *.mp4; - writes an MPEG transport stream to standard output",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="random seed; the same seed gives the same video (default 0)",
    )
    parser.add_argument(
        "--size",
        help="video size WxH in pixels; must be served by the suite (default: the suite's)",
    )
    parser.add_argument("--prompt", default="", help="text prompt that describes the scene")
    parser.add_argument(
        "--real-time", action="store_true", help="send speech and receive video in real time"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=60.0,
        help="how long to retry without a gateway, seconds (default 60)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Talks to the suite."""
    from flashtalk.cli.talking import talk

    return talk(args)
