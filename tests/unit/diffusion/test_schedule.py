"""Timesteps of the published sampler, for every recorded step count and shift."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from flashtalk.diffusion.schedule import sigmas, timesteps
from flashtalk.errors import InputError

GOLDENS = Path(__file__).parents[2] / "goldens"
TABLE: dict[str, list[float]] = json.loads((GOLDENS / "sampler.json").read_text())["timesteps"]


@pytest.mark.parametrize("name", TABLE)
def test_timesteps_equal_the_published_table(name: str) -> None:
    match = re.fullmatch(r"steps(\d+)_shift(\d+)", name)
    assert match is not None
    ours = timesteps(int(match[1]), float(match[2]))
    assert ours == pytest.approx(TABLE[name], abs=1e-4, rel=0)


def test_the_four_noise_levels_of_the_report() -> None:
    assert sigmas(4) == pytest.approx((1, 0.9375, 5 / 6, 0.625, 0), abs=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 17, 40])
@pytest.mark.parametrize("shift", [0.5, 1.0, 5.0])
def test_noise_levels_descend_from_one_to_zero(steps: int, shift: float) -> None:
    levels = sigmas(steps, shift)
    assert len(levels) == steps + 1
    assert levels[0] == 1
    assert levels[-1] == 0
    assert all(a > b for a, b in pairwise(levels))


@pytest.mark.parametrize(
    ("steps", "shift", "field"),
    [(0, 5.0, "steps"), (-1, 5.0, "steps"), (4, 0.0, "shift"), (4, float("nan"), "shift")],
)
def test_impossible_schedules_are_refused(steps: int, shift: float, field: str) -> None:
    with pytest.raises(InputError, match=field):
        timesteps(steps, shift)
