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
        help="plan a fleet for a published preset from one GPU's times",
        description="Step times over ranks, and the fleets that keep so many sessions. A model, "
        "not a measurement. The default times are the report's H800 for the 14B model, and the "
        "authors' claims for one RTX 4090 for FlashHead.",
        allow_abbrev=False,
    )
    published = ", ".join(name for name in PRESETS if name not in (TINY, PUBLISHED))
    parser.add_argument("--preset", default=PUBLISHED, help=f"{PUBLISHED} (default), {published}")
    for name, text in (
        ("step-ms", "one evaluation of the transformer"),
        ("encode-ms", "the motion frames"),
        ("decode-ms", "the 33 frames of a chunk"),
        ("audio-ms", "speech features of a chunk"),
        ("other-ms", "everything else of a chunk"),
    ):
        what = f"on one GPU, at the default size of the preset: {text}"
        parser.add_argument(f"--{name}", type=float, metavar="MS", help=what)
    parser.add_argument("--steps", type=int, default=4, help="evaluations per chunk (default 4)")
    parser.add_argument(
        "--size",
        help="WxH in pixels (default 720x416, FlashHead 512x512)",
    )
    parser.add_argument(
        "--link-gb-s",
        type=float,
        help="what a GPU sends per second (default 160, the report's; FlashHead 20, PCIe)",
    )
    parser.add_argument(
        "--exchange-us", type=float, help="what every exchange costs at least (default the same)"
    )
    parser.add_argument(
        "--sessions", type=int, default=8, help="that the fleet has to keep (default 8)"
    )
    parser.add_argument(
        "--busy-share",
        type=float,
        default=0.8,
        help="of a pod's time that sessions may use (default 0.8)",
    )
    parser.add_argument(
        "--windows", action="store_true", help="a VAE of the published overlapping windows"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints both tables, writes the JSON."""
    from flashtalk.cli.capacity_tables import capacity

    return capacity(args)
