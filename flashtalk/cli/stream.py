"""``flashtalk bench stream``: measures whether a running suite keeps up with speech."""

from __future__ import annotations

import argparse
from pathlib import Path

from flashtalk.cli.gateway_options import add_gateway_options


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``stream`` to ``bench``."""
    parser = subparsers.add_parser(
        "stream",
        help="measure whether a running suite keeps up with real time",
        description="Stream speech to a running suite as fast as it accepts it and measure "
        "the time between chunks divided by the duration of a chunk. Below 1 the "
        "suite keeps up with real time.",
        allow_abbrev=False,
    )
    add_gateway_options(parser)
    parser.add_argument("--image", type=Path, help="portrait (default: a generated picture)")
    parser.add_argument(
        "--audio", type=Path, help="speech file, repeated as needed (default: a synthetic tone)"
    )
    parser.add_argument(
        "--size",
        help="video size WxH in pixels; must be served by the suite (default: the suite's)",
    )
    parser.add_argument(
        "--sessions", type=int, default=1, help="number of concurrent sessions (default 1)"
    )
    parser.add_argument(
        "--warmup",
        type=int,
        default=2,
        help="number of unmeasured chunks per session, at least 1 (default 2)",
    )
    parser.add_argument(
        "--chunks", type=int, default=20, help="number of measured chunks per session (default 20)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=60.0,
        help="how long to retry without a gateway, seconds (default 60)",
    )
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
