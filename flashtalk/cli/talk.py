"""``flashtalk talk``: a client of a running suite; portrait and sound file to an MP4."""

from __future__ import annotations

import argparse
from pathlib import Path

from flashtalk.cli.gateway_options import add_gateway_options


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``talk`` to the commands."""
    parser = subparsers.add_parser(
        "talk",
        help="the same through a running suite",
        description="Make a portrait talk through a running suite: MP4 (H.264, AAC) out.",
        allow_abbrev=False,
    )
    add_gateway_options(parser)
    parser.add_argument("--image", required=True, type=Path, help="portrait, any picture")
    parser.add_argument(
        "--audio",
        required=True,
        help="speech, any sound file or pipe; - for standard input; without a header it is "
        "taken for 16 bit little-endian mono samples at 16 kHz",
    )
    parser.add_argument(
        "--out",
        required=True,
        help="video to write, *.mp4; - for an MPEG transport stream on standard output",
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same video (default 0)")
    parser.add_argument("--size", help="WxH in pixels, one that the suite serves")
    parser.add_argument("--prompt", default="", help="what the scene is, in words")
    parser.add_argument(
        "--real-time", action="store_true", help="send speech and receive video as a call would"
    )
    parser.add_argument("--patience", type=float, default=60.0, help="seconds without a gateway")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Talks to the suite."""
    from flashtalk.cli.talking import talk

    return talk(args)
