"""Checkpoints of a run: written by all ranks together, replaced atomically, resumed automatically.

A checkpoint is a folder ``checkpoint/step-N``: tensors in shards (torch.distributed.checkpoint),
``run.json`` with all other values, and each rank's random generators. It can be resumed with
another number of ranks: tensors are sharded anew, and a step's random numbers depend on its number.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from training.core.errors import TrainingError
from training.core.world import World

FOLDER = "checkpoint"
FORMAT = 3
_RUN = "run.json"


@dataclass(frozen=True)
class RunCheckpoint:
    """A complete checkpoint on disk.

    Args:
        folder: its folder.
        values: all values except tensors: step, elapsed seconds and so on.
        shapes, dtypes: of every tensor in it, by name.
    """

    folder: Path
    values: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, torch.dtype]

    def read(self) -> dict[str, Tensor]:
        """Returns every tensor, unsharded, in one process and without the models."""
        tensors = {n: torch.empty(s, dtype=self.dtypes[n]) for n, s in self.shapes.items()}
        self.load(tensors, World.alone())
        return tensors

    def load(self, tensors: dict[str, Tensor], world: World) -> None:
        """Fills these tensors in place.

        Raises:
            TrainingError: names or sizes differ from those in the checkpoint.
        """
        wanted = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        different = sorted(set(wanted.items()) ^ set(self.shapes.items()))
        if different:
            names = list(dict.fromkeys(name for name, _ in different))
            shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
            raise TrainingError(
                f"{self.folder}: the checkpoint has a different model size or optimizer; "
                f"use another --run-dir ({len(names)} tensors differ: {shown})"
            )
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "torch.distributed is disabled")
                load(tensors, checkpoint_id=self.folder, no_dist=world.mesh is None)
        except Exception as error:
            raise TrainingError(f"{self.folder}: not a readable checkpoint ({error})") from error

    def restore_random(self, world: World) -> None:
        """Restores this rank's generators; a rank without saved ones keeps its own."""
        file = self.folder / f"random-{world.rank}.pt"
        if file.exists():
            restore_random_state(torch.load(file, weights_only=True))


def save_run_checkpoint(
    run_dir: Path,
    recipe: str,
    values: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    world: World,
) -> Path:
    """Writes a checkpoint beside the old one, then deletes the old one. Collective.

    Args:
        run_dir: of the run.
        recipe: its name.
        values: JSON-ready, among them ``step``.
        tensors: of this rank; sharded ones are written in parts.
        world: the ranks.
    """
    folder = run_dir / FOLDER / f"step-{values['step']}"
    partial = folder.with_name(f"{folder.name}.partial")
    if world.first:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    world.barrier()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        save(dict(tensors), checkpoint_id=partial, no_dist=world.mesh is None)
    torch.save(random_state(), partial / f"random-{world.rank}.pt")
    world.barrier()
    if world.first:
        text = json.dumps({"format": FORMAT, "recipe": recipe, **values}, indent=2)
        (partial / _RUN).write_text(text + "\n")
        _flush(partial)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
        for older in folder.parent.iterdir():
            if older != folder:
                shutil.rmtree(older, ignore_errors=True)
    world.barrier()
    return folder


def find_run_checkpoint(run_dir: Path, recipe: str) -> RunCheckpoint | None:
    """Returns the newest complete checkpoint in ``run_dir``, or None for a fresh run.

    Raises:
        TrainingError: it cannot be read or belongs to another recipe.
    """
    complete = [
        path for path in (run_dir / FOLDER).glob("step-*") if not path.name.endswith(".partial")
    ]
    if not complete:
        return None
    folder = max(complete, key=lambda path: int(path.name.removeprefix("step-")))
    try:
        values = json.loads((folder / _RUN).read_text())
        metadata = FileSystemReader(folder).read_metadata().state_dict_metadata
    except Exception as error:
        raise TrainingError(f"{folder}: not a readable checkpoint ({error})") from error
    if values.get("format") != FORMAT:
        raise TrainingError(
            f"{folder}: checkpoint format {values.get('format')} is not "
            f"supported; expected {FORMAT}"
        )
    if values.get("recipe") != recipe:
        raise TrainingError(
            f"{folder}: checkpoint of recipe {values.get('recipe')!r}, not "
            f"{recipe!r}; use another --run-dir"
        )
    tensors = {n: e for n, e in metadata.items() if isinstance(e, TensorStorageMetadata)}
    shapes = {name: tuple(entry.size) for name, entry in tensors.items()}
    dtypes = {name: entry.properties.dtype for name, entry in tensors.items()}
    return RunCheckpoint(folder, values, shapes, dtypes)


def random_state() -> dict[str, Any]:
    """Returns the state of the torch, numpy and python generators, as types for a safe load."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (
            str(name),
            torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ),
        "python": random.getstate(),
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Restores the generators to a state from ``random_state``."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


def _flush(folder: Path) -> None:
    """Flushes it to the disk, before the old checkpoint is deleted."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
