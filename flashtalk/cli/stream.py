"""``flashtalk bench stream``: measures whether a running suite keeps up with speech."""

from __future__ import annotations

import argparse
from pathlib import Path

from flashtalk.cli.gateway_options import add_gateway_options


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``stream`` to ``bench``."""
    parser = subparsers.add_parser(
        "stream",
        help="p95 of chunk period over media time, against a running suite",
        description="Sends sound to a running suite as fast as it takes it, and says how long "
        "chunks are apart, in parts of what they play. Below 1 it keeps up.",
        allow_abbrev=False,
    )
    add_gateway_options(parser)
    parser.add_argument("--image", type=Path, help="portrait; default a drawn one")
    parser.add_argument("--audio", type=Path, help="sound, repeated; default a drawn one")
    parser.add_argument("--size", help="WxH in pixels, one that the suite serves")
    parser.add_argument("--sessions", type=int, default=1, help="at once (default 1)")
    parser.add_argument(
        "--warmup",
        type=int,
        default=2,
        help="chunks of a session before those that count, at least 1 (default 2)",
    )
    parser.add_argument(
        "--chunks", type=int, default=20, help="chunks of a session that count (default 20)"
    )
    parser.add_argument("--patience", type=float, default=60.0, help="seconds without a gateway")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/stream.json"),
        help="JSON file to write (default %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures, writes the JSON, prints the table."""
    from flashtalk.cli.stream_run import stream

    return stream(args)
