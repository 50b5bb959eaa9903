"""One checkpoint file per run, replaced atomically; a run resumes from it by itself."""

import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.core.errors import TrainingError

FILE_NAME = "checkpoint.pt"
FORMAT = 2


def random_state() -> dict[str, Any]:
    """State of the torch, numpy and python generators, as types a safe load accepts."""
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
    """Puts the generators back to where ``random_state`` saw them."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


def save_checkpoint(run_dir: Path, recipe: str, state: Mapping[str, Any]) -> Path:
    """Writes the state beside the old file, flushes it to disk, then renames over it."""
    path = run_dir / FILE_NAME
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save({"format": FORMAT, "recipe": recipe, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    return path


def load_checkpoint(run_dir: Path, recipe: str) -> dict[str, Any] | None:
    """The state in ``run_dir``, or None for a fresh run.

    Raises:
        TrainingError: the file cannot be read or belongs to another recipe.
    """
    path = run_dir / FILE_NAME
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(f"{path}: not a readable checkpoint ({error})") from error
    if state.get("format") != FORMAT:
        raise TrainingError(f"{path}: format {state.get('format')}, this code writes {FORMAT}")
    if state.get("recipe") != recipe:
        raise TrainingError(f"{path}: is of recipe {state.get('recipe')!r}, not {recipe!r}")
    return state
