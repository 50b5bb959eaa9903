"""Stores of encoded groups: each group once, whoever encodes it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from training.data.array_store import Array, Shape, fill_store

SHAPE = Shape(("x",), groups=6, rows=2)


def encoded(group: int) -> Mapping[str, Array]:
    return {"x": np.full((2, 3), group, dtype=np.int64)}


def expected() -> Array:
    return np.repeat(np.arange(6), 2)[:, None].repeat(3, axis=1)


def test_every_row_is_its_groups(tmp_path: Path) -> None:
    arrays = fill_store(tmp_path / "store", SHAPE, encoded, "encode")
    np.testing.assert_array_equal(arrays["x"], expected())


def test_what_another_process_did_meanwhile_is_not_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    calls: list[int] = []

    def encode_while_another_does_too(group: int) -> Mapping[str, Array]:
        calls.append(group)
        if len(calls) == 2:  # the first call is for the shapes
            fill_store(folder, SHAPE, encoded, "the other")
        return encoded(group)

    arrays = fill_store(folder, SHAPE, encode_while_another_does_too, "encode")
    np.testing.assert_array_equal(arrays["x"], expected())
    assert len(calls) == 2
