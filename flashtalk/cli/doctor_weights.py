"""What ``flashtalk doctor`` says of a folder of weights and its overlays; loads no model."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from flashtalk.cli.doctor_report import MIB, size_text
from flashtalk.cli.limits import check_preset, check_weights
from flashtalk.cli.overlay_option import overlays_of
from flashtalk.engine import Checkpoint, open_checkpoint, weights_digest
from flashtalk.engine.weights_digest import piece_files
from flashtalk.models.checkpoint import OverlayEffect, check_state
from flashtalk.presets import TINY
from flashtalk.terminal import deliver, report_console

KIB = 1 << 10
_SETTINGS = "settings"


class Part(NamedTuple):
    """A model's file or folder, and the size of its files in the digest, in bytes."""

    name: str
    path: Path
    size_bytes: int


class WeightsFacts(NamedTuple):
    """What was found: the parts of a folder, the effects of overlays, the digest of all."""

    preset: str
    parts: Sequence[Part]
    effects: Sequence[OverlayEffect]
    digest: str


def report_weights(args: argparse.Namespace) -> int:
    """Inspects weights and prints the report; returns the exit code.

    Raises:
        InputError, WeightsError: parts are missing, an overlay does not fit, or the merged tensors
            are not those of the network.
    """
    preset = args.preset or TINY
    check_preset(preset)
    check_weights(preset, args.weights)
    overlays = overlays_of(args)
    facts = inspect_weights(open_checkpoint(preset, args.weights, device="cpu", overlays=overlays))
    if args.json:
        deliver(json.dumps(as_values(facts), indent=2) + "\n")
    else:
        show(facts, report_console())
    return 0


def inspect_weights(checkpoint: Checkpoint) -> WeightsFacts:
    """Compares names and shapes with the network's; reads all files once for the digest.

    Raises:
        InputError, WeightsError: as ``report_weights``.
    """
    effects = checkpoint.merged().effects
    state, network = checkpoint.transformer_state(), checkpoint.bare_network()
    check_state(network, state, source=checkpoint.preset)
    parts = [
        Part(name or _SETTINGS, path, _size_bytes({name: path}))
        for name, path in checkpoint.parts.items()
    ]
    digest = weights_digest(checkpoint.pieces)
    return WeightsFacts(checkpoint.preset, parts, effects, digest)


def as_values(facts: WeightsFacts) -> dict[str, Any]:
    """Returns the report as plain values; sizes are in bytes."""
    return {
        "preset": facts.preset,
        "parts": [
            {"part": part.name, "path": str(part.path), "size_bytes": part.size_bytes}
            for part in facts.parts
        ],
        "overlays": [
            {
                "path": str(effect.overlay.path),
                "kind": effect.kind,
                "strength": effect.overlay.strength,
                "tensors_changed": effect.changed,
                "tensors_added": effect.added,
            }
            for effect in facts.effects
        ],
        "weights_digest": facts.digest,
    }


def show(facts: WeightsFacts, console: Console) -> None:
    """Prints the report as tables."""
    table = Table(title=f"Weights of {facts.preset}", title_justify="left")
    for heading in ("part", "file or folder", "size"):
        table.add_column(heading, overflow="fold")
    for part in facts.parts:
        table.add_row(part.name, str(part.path), _size(part.size_bytes))
    console.print(table, markup=False)
    if facts.effects:
        console.print(_overlay_table(facts.effects), markup=False)
    console.print(f"weights digest: {facts.digest}", highlight=False, soft_wrap=True)


def _overlay_table(effects: Sequence[OverlayEffect]) -> Table:
    table = Table(title="Overlays, in this order", title_justify="left")
    for heading in ("file", "kind", "strength", "tensors changed", "tensors added"):
        table.add_column(heading, overflow="fold")
    for effect in effects:
        strength = f"{effect.overlay.strength:g}"
        counts = (str(effect.changed), str(effect.added))
        table.add_row(str(effect.overlay.path), effect.kind, strength, *counts)
    return table


def _size_bytes(pieces: Mapping[str, Path]) -> int:
    return sum(path.stat().st_size for _, path in piece_files(pieces))


def _size(size_bytes: int) -> str:
    return size_text(size_bytes) if size_bytes >= MIB else f"{math.ceil(size_bytes / KIB)} KiB"
