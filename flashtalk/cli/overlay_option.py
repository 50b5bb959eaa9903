"""The option ``--overlay`` of the commands that load weights; imports nothing large."""

from __future__ import annotations

import argparse

from flashtalk.errors import InputError
from flashtalk.overlays import FIELD, Overlay, parse_overlays


def add_overlay_option(parser: argparse.ArgumentParser) -> None:
    """Adds the option, which can be given several times."""
    parser.add_argument(
        "--overlay",
        action="append",
        metavar="FILE[:STRENGTH]",
        help="file merged into the transformer's weights, tensors or a LoRA; repeatable, in order",
    )


def overlays_of(args: argparse.Namespace) -> tuple[Overlay, ...]:
    """Returns the checked overlays. Raises InputError as ``parse_overlays``, and with ``--random``.

    Args:
        args: of ``add_overlay_option``.
    """
    overlays = parse_overlays(args.overlay or ())
    if overlays and getattr(args, "random", False):
        raise InputError(FIELD, overlays[0].name, "not with random weights")
    return overlays


def with_overlays(weights: str, overlays: tuple[Overlay, ...]) -> str:
    """Returns the name of weights in a report: ``Wan2.1 + infinitetalk.safetensors``."""
    return " + ".join((weights, *(overlay.name for overlay in overlays)))
