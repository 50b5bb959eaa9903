"""Arrays on disk that are filled once, group by group: the outputs of frozen models.

Each array is a ``.npy`` file that is memory-mapped; ``done.npy`` marks the finished groups. An
interrupted build resumes with the missing groups, and processes that fill the same store share
them: each locks the group that it encodes (a byte of ``claims.lock``) until the process ends, and
finally waits for the groups of others. If groups may fail, ``failed.npy`` marks them; their rows
stay zero.

Legend: G groups, N rows.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashtalk.arrays import AnyArray, BoolArray
from flashtalk.errors import InputError
from training.core.progress import track

EncodeGroup = Callable[[int], Mapping[str, AnyArray]]
Failed = Callable[[int, InputError], None]

NO_GROUP = "groups"
"""Field of the error when every group failed."""

_DEADLINE_S = 1800.0
"""Timeout for another process to encode one group."""
_POLL_S = 0.2


@dataclass(frozen=True)
class StoreLayout:
    """The layout of a store.

    Args:
        names: of the arrays.
        groups: G.
        rows: per group; row ``group * rows + i`` is the group's i-th.
    """

    names: tuple[str, ...]
    groups: int
    rows: int


def fill_store(
    folder: Path, shape: StoreLayout, encode: EncodeGroup, title: str, failed: Failed | None = None
) -> dict[str, AnyArray]:
    """Encodes the groups that the folder does not hold yet; opens all arrays for reading.

    Args:
        folder: of the store; its name must identify everything that determines the values.
        shape: layout of the store.
        encode: returns the rows of a group, [rows, ...] by name; all have the same sizes and types.
        title: of the progress display.
        failed: called with a group whose ``encode`` raised InputError, which is never tried again;
            without it the error is raised.

    Raises:
        InputError: every group failed, or another process exceeded the timeout for one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _claim(folder / "creation.lock", 0, wait=True):
        if not (folder / "done.npy").exists():
            _create(folder, shape, _first(shape, encode, failed), may_fail=failed is not None)
    store = _Open(folder, shape, encode, failed)
    # In random order, so that two processes rarely try the same group.
    missing = np.random.default_rng(os.getpid()).permutation(np.flatnonzero(~store.done_G))
    elsewhere: list[int] = []
    for group in track(title, missing.tolist(), len(missing)):
        with _claim(folder / "claims.lock", group, wait=False) as mine:
            if mine:
                store.fill(group)
            else:
                elsewhere.append(group)
    for group in elsewhere:
        with _claim(folder / "claims.lock", group, wait=True):
            store.fill(group)  # unless the other process has finished it
    store.flush()
    return open_store(folder, shape.names)


class _Open:
    """A store with its arrays, while it is filled."""

    def __init__(
        self, folder: Path, shape: StoreLayout, encode: EncodeGroup, failed: Failed | None
    ) -> None:
        self.folder, self.shape, self.encode, self.failed = folder, shape, encode, failed
        self.arrays = {n: np.load(folder / f"{n}.npy", mmap_mode="r+") for n in shape.names}
        self.done_G = np.load(folder / "done.npy", mmap_mode="r+")

    def fill(self, group: int) -> None:
        """Encodes a group, unless it is finished."""
        if self.done_G[group]:
            return
        rows = slice(group * self.shape.rows, (group + 1) * self.shape.rows)
        try:
            encoded = self.encode(group)
        except InputError as error:
            if self.failed is None:
                raise
            self.failed(group, error)
            failed_G = np.load(self.folder / "failed.npy", mmap_mode="r+")
            failed_G[group] = True
            failed_G.flush()
        else:
            for name, values in encoded.items():
                self.arrays[name][rows] = values
        self.done_G[group] = True  # last: a kill before this line repeats the group

    def flush(self) -> None:
        """Flushes the arrays to the disk."""
        for array in (*self.arrays.values(), self.done_G):
            array.flush()


def open_store(folder: Path, names: Sequence[str]) -> dict[str, AnyArray]:
    """Arrays of a finished store, memory-mapped for reading."""
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}


def finished(folder: Path) -> bool:
    """Whether a store exists and all of its groups are finished."""
    done = folder / "done.npy"
    return done.is_file() and bool(np.load(done).all())


def failed_groups(folder: Path) -> BoolArray:
    """Returns the failed groups of a finished store, bool [G]."""
    failed_G: BoolArray = np.load(folder / "failed.npy")
    return failed_G


def _first(
    shape: StoreLayout, encode: EncodeGroup, failed: Failed | None
) -> Mapping[str, AnyArray]:
    """The rows of the first group that can be encoded: they tell sizes and types."""
    for group in range(shape.groups):
        try:
            return encode(group)
        except InputError as error:
            if failed is None:
                raise
            failed(group, error)
    raise InputError(NO_GROUP, shape.groups, "at least one must be encodable")


@contextmanager
def _claim(file: Path, place: int, *, wait: bool) -> Iterator[bool]:
    """Locks a byte of a file; the lock ends with the process in every case.

    Yields whether this process has the lock, which is always true after waiting.

    Raises:
        InputError: another process held it longer than the timeout.
    """
    deadline_s = time.monotonic() + _DEADLINE_S
    with file.open("a+b") as locks:
        while not (mine := _locked(locks.fileno(), place)) and wait:
            if time.monotonic() > deadline_s:
                limit = f"timeout: lock held by another process for more than {_DEADLINE_S:g} s"
                raise InputError(str(file), f"group {place}", limit)
            time.sleep(_POLL_S)
        yield mine


def _locked(descriptor: int, place: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError:
        return False
    return True


def _create(
    folder: Path, shape: StoreLayout, example: Mapping[str, AnyArray], *, may_fail: bool
) -> None:
    for name, values in example.items():
        np.lib.format.open_memmap(
            folder / f"{name}.npy",
            mode="w+",
            dtype=values.dtype,
            shape=(shape.groups * shape.rows, *values.shape[1:]),
        )
    if may_fail:
        np.save(folder / "failed.npy", np.zeros(shape.groups, dtype=bool))
    # Written last: its presence shows that the other files exist.
    np.save(folder / "done.npy", np.zeros(shape.groups, dtype=bool))


def half(tensor: Tensor) -> npt.NDArray[np.float16]:
    """Converts a tensor to the stored type of large arrays."""
    values: npt.NDArray[np.float16] = tensor.detach().to("cpu", torch.float16).numpy()
    return values
