"""Stores of encoded groups: each group once, whoever encodes it."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flashtalk.arrays import AnyArray
from flashtalk.errors import InputError
from training.data import array_store
from training.data.array_store import StoreLayout, fill_store, finished, open_store

SHAPE = StoreLayout(("x",), groups=6, rows=2)


def encoded(group: int) -> Mapping[str, AnyArray]:
    return {"x": np.full((2, 3), group, dtype=np.int64)}


def expected() -> AnyArray:
    return np.repeat(np.arange(6), 2)[:, None].repeat(3, axis=1)


def test_every_row_is_its_groups(tmp_path: Path) -> None:
    arrays = fill_store(tmp_path / "store", SHAPE, encoded, "encode")
    np.testing.assert_array_equal(arrays["x"], expected())


def test_what_another_process_did_meanwhile_is_not_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    calls: list[int] = []

    def encode_while_another_does_too(group: int) -> Mapping[str, AnyArray]:
        calls.append(group)
        if len(calls) == 2:  # the first call is for the shapes
            fill_store(folder, SHAPE, encoded, "the other")
        return encoded(group)

    arrays = fill_store(folder, SHAPE, encode_while_another_does_too, "encode")
    np.testing.assert_array_equal(arrays["x"], expected())
    assert len(calls) == 2


# Holds a group of a store until its standard input ends, as a process that encodes it would.
HOLDER = """
import fcntl, sys
locks = open(sys.argv[1], "a+b")
fcntl.lockf(locks, fcntl.LOCK_EX, 1, int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


class Holder:
    """Another process at work on one group."""

    def __init__(self, folder: Path, group: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder / "claims.lock"), str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"held\n"

    def end(self) -> None:
        self._process.communicate()


@pytest.mark.parametrize("done", [True, False])
def test_a_group_that_another_process_encodes_is_waited_for(
    done: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is encoded here only if the other one ends without having done it."""
    folder = tmp_path / "store"
    begun(folder)
    other, calls = Holder(folder, 4), []

    def other_ends(_: float) -> None:
        if done:
            np.load(folder / "x.npy", mmap_mode="r+")[8:10] = 4
            np.load(folder / "done.npy", mmap_mode="r+")[4] = True
        other.end()

    clock = SimpleNamespace(sleep=other_ends, monotonic=lambda: 0.0)
    monkeypatch.setattr(array_store, "time", clock)

    def noted(group: int) -> Mapping[str, AnyArray]:
        calls.append(group)
        return encoded(group)

    arrays = fill_store(folder, SHAPE, noted, "encode")
    np.testing.assert_array_equal(arrays["x"], expected())
    assert sorted(calls) == ([0, 1, 2, 3, 5] if done else [0, 1, 2, 3, 4, 5])
    assert calls[-1] == 4 or done, "after everything else"


def test_another_process_that_hangs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    begun(folder)
    other = Holder(folder, 2)
    monkeypatch.setattr(array_store, "_DEADLINE_S", -1.0)
    with pytest.raises(InputError, match="group 2"):
        fill_store(folder, SHAPE, encoded, "encode")
    assert not finished(folder)
    other.end()
    fill_store(folder, SHAPE, encoded, "encode")
    assert finished(folder)
    np.testing.assert_array_equal(open_store(folder, ("x",))["x"], expected())


def begun(folder: Path) -> None:
    """A store in which nothing is done yet: its filling was killed after it was laid out."""
    sizes = iter([encoded(0)])

    def killed(_: int) -> Mapping[str, AnyArray]:
        for rows in sizes:
            return rows
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_store(folder, SHAPE, killed, "encode")
