"""Another number in the environment is another set of random numbers for every test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests import seeds
from training.core.draws import SharedDraws


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """First numbers of seed 3 as the environment of this run has them; then the seeds are 5's."""
    monkeypatch.setattr(seeds, "_shifted", [])
    for module, name in ((np.random, "default_rng"), (torch, "manual_seed"), (torch, "Generator")):
        monkeypatch.setattr(module, name, getattr(module, name))
    before = numbers()
    monkeypatch.setenv(seeds.VARIABLE, "5000")
    seeds.shift()
    return before


def numbers() -> list[float]:
    torch.manual_seed(3)
    made = [
        np.random.default_rng(3).random(),
        np.random.default_rng((3, 4)).random(),
        float(torch.rand(())),
        float(torch.rand((), generator=torch.Generator().manual_seed(3))),
    ]
    seeds.seed_all()
    return [*made, float(torch.rand(())), float(np.random.random())]


def test_every_seed_of_a_test_is_shifted(drawn: list[float]) -> None:
    shifted = numbers()
    assert not set(shifted) & set(drawn)
    assert numbers() == shifted


def test_seeds_of_the_project_stay(drawn: list[float]) -> None:
    ours = SharedDraws.seeded(3).uniform((1,))
    program = compile("torch.Generator().manual_seed(3)", str(Path(torch.__file__)), "eval")
    assert float(torch.rand((), generator=eval(program, {"torch": torch}))) == float(ours)
    assert float(ours) != numbers()[3]
