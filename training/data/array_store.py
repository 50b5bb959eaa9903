"""Arrays on disk that are filled group by group, once: what frozen models say about a data set.

Each array is a ``.npy`` file that is memory-mapped; ``done.npy`` says which groups are in them. A
build that was killed goes on with the groups that are missing, and processes that fill the same
store share them. Where groups may fail, ``failed.npy`` says which did; their rows stay zero.

Legend: G groups, N rows.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashtalk.errors import InputError
from training.core.progress import track

Array = npt.NDArray[np.generic]
Encode = Callable[[int], Mapping[str, Array]]
Failed = Callable[[int, InputError], None]


@dataclass(frozen=True)
class Shape:
    """How a store is laid out.

    Args:
        names: of the arrays.
        groups: G.
        rows: of each group; row ``group * rows + i`` is the group's i-th.
    """

    names: tuple[str, ...]
    groups: int
    rows: int


def fill_store(
    folder: Path, shape: Shape, encode: Encode, title: str, failed: Failed | None = None
) -> dict[str, Array]:
    """Encodes the groups that the folder does not hold yet; opens all arrays for reading.

    Args:
        folder: of the store; its name has to say all that decides the values.
        shape: see there.
        encode: the rows of a group, [rows, ...] by name; sizes and types are the same for all.
        title: shown with the progress.
        failed: told of a group whose ``encode`` raised InputError, which is then left out for good;
            without it the error is the caller's.

    Raises:
        InputError: every group failed.
    """
    with _alone(folder):
        if not (folder / "done.npy").exists():
            _create(folder, shape, _first(shape, encode, failed), may_fail=failed is not None)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in shape.names}
    done_G = np.load(folder / "done.npy", mmap_mode="r+")
    # In an order of its own, so that two processes rarely meet at the same group.
    missing = np.random.default_rng(os.getpid()).permutation(np.flatnonzero(~np.asarray(done_G)))
    for group in track(title, missing, len(missing)):
        if done_G[group]:
            continue
        rows = slice(int(group) * shape.rows, (int(group) + 1) * shape.rows)
        try:
            encoded = encode(int(group))
        except InputError as error:
            if failed is None:
                raise
            failed(int(group), error)
            failed_G = np.load(folder / "failed.npy", mmap_mode="r+")
            failed_G[group] = True
            failed_G.flush()
        else:
            for name, values in encoded.items():
                arrays[name][rows] = values
        done_G[group] = True  # last: a kill before this line repeats the group
    for array in (*arrays.values(), done_G):
        array.flush()
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in shape.names}


def failed_groups(folder: Path) -> npt.NDArray[np.bool_]:
    """Which groups of a finished store failed, bool [G]."""
    failed_G: npt.NDArray[np.bool_] = np.load(folder / "failed.npy")
    return failed_G


def _first(shape: Shape, encode: Encode, failed: Failed | None) -> Mapping[str, Array]:
    """The rows of the first group that can be encoded: they tell sizes and types."""
    for group in range(shape.groups):
        try:
            return encode(group)
        except InputError as error:
            if failed is None:
                raise
            failed(group, error)
    raise InputError("groups", shape.groups, "at least one that can be encoded")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; ends with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "creation.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _create(folder: Path, shape: Shape, sample: Mapping[str, Array], *, may_fail: bool) -> None:
    for name, values in sample.items():
        np.lib.format.open_memmap(
            folder / f"{name}.npy",
            mode="w+",
            dtype=values.dtype,
            shape=(shape.groups * shape.rows, *values.shape[1:]),
        )
    if may_fail:
        np.save(folder / "failed.npy", np.zeros(shape.groups, dtype=bool))
    # Comes last: its presence says that the other files are there.
    np.save(folder / "done.npy", np.zeros(shape.groups, dtype=bool))


def half(tensor: Tensor) -> npt.NDArray[np.float16]:
    """A tensor as large arrays are kept."""
    values: npt.NDArray[np.float16] = tensor.detach().to("cpu", torch.float16).numpy()
    return values
