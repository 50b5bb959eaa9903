"""``flashtalk bench capacity``: the GPUs needed for a number of sessions, from one GPU's times.

Nothing is measured: the default times are the report's, or what FlashHead's authors claim
(docs/parallelism.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flashtalk.presets import PRESETS, PUBLISHED, TINY


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``capacity`` to ``bench``."""
    parser = subparsers.add_parser(
        "capacity",
        help="plan a fleet of GPUs for a published preset from the times of one GPU",
        description="Compute step times for several numbers of ranks, and fleets for a "
        "number of sessions. This is a model, not a measurement; the defaults "
        "are the report's times on H800 for the 14B model, and the authors' claims for one "
        "RTX 4090 for FlashHead.",
        allow_abbrev=False,
    )
    others = ", ".join(name for name in PRESETS if name not in (TINY, PUBLISHED))
    parser.add_argument(
        "--preset", default=PUBLISHED, help=f"preset: {PUBLISHED} (default), {others}"
    )
    for name, text in (
        ("step-ms", "one denoising step of the DiT"),
        ("encode-ms", "VAE encoding of the motion frames"),
        ("decode-ms", "VAE decoding of 33 frames"),
        ("audio-ms", "speech features of a chunk"),
        ("other-ms", "all other work of a chunk"),
    ):
        what = f"{text}, on one GPU at the default size, milliseconds"
        parser.add_argument(f"--{name}", type=float, metavar="MS", help=what)
    parser.add_argument(
        "--steps", type=int, default=4, help="denoising steps per chunk (default 4)"
    )
    parser.add_argument(
        "--size",
        help="video size WxH in pixels (default 720x416, FlashHead 512x512)",
    )
    parser.add_argument(
        "--link-gb-s",
        type=float,
        help="bandwidth of a GPU to the others, GB/s (default 160, FlashHead 20)",
    )
    parser.add_argument(
        "--exchange-us",
        type=float,
        help="minimum latency of one exchange, microseconds (default 50)",
    )
    parser.add_argument(
        "--sessions", type=int, default=8, help="number of real-time sessions to serve (default 8)"
    )
    parser.add_argument(
        "--busy-share",
        type=float,
        default=0.8,
        help="maximum utilisation of a pod, 0 to 1 (default 0.8)",
    )
    parser.add_argument(
        "--windows",
        action="store_true",
        help="model the published VAE decoding in overlapping windows",
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints both tables, writes the JSON."""
    from flashtalk.cli.capacity_tables import capacity

    return capacity(args)
