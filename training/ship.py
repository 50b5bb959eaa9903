"""``python -m training.ship WEIGHTS OUT``: copies a finished folder in half precision, for release.

The teacher may be included as a separate folder, for further distillation. Existing parts in OUT
are overwritten; files that are not weights, such as its card, stay.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file

from flashtalk.errors import FlashTalkError, InputError
from flashtalk.models.checkpoint import OWN_FOLDERS, find_checkpoint
from flashtalk.terminal import OneLineParser, guarded, note

TEACHER = "teacher"
WEIGHTS_SUFFIX, PARTIAL_SUFFIX = ".safetensors", ".partial"


def halve_folder(source: Path, target: Path) -> float:
    """Copies a model's folder, with floating-point tensors as float16.

    Returns:
        The largest change of a weight, as a share of the largest magnitude in its tensor.

    Raises:
        InputError: ``source`` contains no weights, or a tensor exceeds the range of float16.
    """
    files = [file for file in source.iterdir() if file.is_file()] if source.is_dir() else []
    weights = [file for file in files if file.suffix == WEIGHTS_SUFFIX]
    if not weights:
        raise InputError("weights", source, "must be a folder with safetensors files")
    target.mkdir(parents=True, exist_ok=True)
    worst = 0.0
    for file in weights:
        halves = {}
        for name, tensor in load_file(file).items():
            half = tensor.half() if tensor.is_floating_point() else tensor
            if tensor.is_floating_point():
                if not torch.isfinite(half).all():
                    raise InputError(
                        f"{file}: {name}",
                        float(tensor.abs().max()),
                        "must be below 65504 for half precision",
                    )
                change = (half.double() - tensor.double()).abs().max()
                worst = max(worst, float(change / tensor.double().abs().max().clamp(min=1e-12)))
            halves[name] = half.contiguous()
        partial = target / (file.name + PARTIAL_SUFFIX)
        save_file(halves, partial)
        os.replace(partial, target / file.name)
    for file in files:
        if file not in weights:
            shutil.copyfile(file, target / file.name)
    return worst


def ship(weights: Path, out: Path, teacher: Path | None, console: Console) -> None:
    """Writes ``out`` and prints the size of each part.

    Raises:
        InputError: as ``halve_folder``; or ``out`` is one of the source folders.
        WeightsError: ``weights`` is not a complete folder.
    """
    find_checkpoint(weights)
    if out.resolve() in {weights.resolve(), teacher and teacher.resolve()}:
        raise InputError("OUT", out, "must not be a source folder")
    pieces = {role: weights / role for role in OWN_FOLDERS}
    if teacher is not None:
        pieces[TEACHER] = teacher
    table = Table("piece", "MB", "largest change")
    for role, source in pieces.items():
        change = halve_folder(source, out / role)
        size = sum(file.stat().st_size for file in (out / role).iterdir())
        table.add_row(role, f"{size / 1e6:.1f}", f"{change:.1e}")
    for file in weights.glob("*.json"):
        shutil.copyfile(file, out / file.name)
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or exits with code 2 and one line for bad input."""
    parser = OneLineParser(prog="python -m training.ship", description=__doc__)
    parser.add_argument("weights", type=Path, help="folder of a finished model")
    parser.add_argument("out", type=Path, help="output folder")
    parser.add_argument(
        "--teacher", type=Path, help="folder of a transformer to ship as OUT/teacher"
    )
    options = parser.parse_args(arguments)
    try:
        ship(options.weights, options.out, options.teacher, Console())
    except FlashTalkError as error:
        note(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("training.ship", main))
