"""Other random numbers for the whole suite: ``FLASHTALK_TEST_SEED=7`` shifts every seed of a test.

A tolerance or a statistic that holds for one seed may hold by luck. With 0, the default, each run
has the same numbers; with another one every seed that a file below ``tests`` gives to numpy or
torch is shifted. The project's own seeds (noise by counter, recipes, goldens) stay what they are.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

VARIABLE = "FLASHTALK_TEST_SEED"

_TESTS = f"{Path(__file__).parent}{os.sep}"
# Further apart than the seeds of any one test, so that its own ones never come up again.
_STRIDE = 100_003


def offset() -> int:
    """By how much seeds are shifted."""
    return _STRIDE * int(os.environ.get(VARIABLE, "0"))  # noqa: TID251 - the suite's own setting


def seed_all() -> None:
    """The same random numbers from now on, whatever was drawn before."""
    random.seed(offset())
    np.random.seed(offset())
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)  # shifted, as any test's


def settle() -> None:
    """For pytest, before it imports a test: seeds as the environment says.

    Properties are tried on the same examples in each run, too, and on others with other seeds; no
    example has a time limit.
    """
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "suite",
        deadline=None,
        derandomize=not offset(),
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("suite")
    shift()


def shift() -> None:
    """Every later seed of a test in this process, as the environment says."""
    if offset() and not _shifted:
        _shift_numpy()
        _shift_torch()


_shifted: list[str] = []


def _from_tests() -> bool:
    # The caller of the function that asks.
    return sys._getframe(2).f_code.co_filename.startswith(_TESTS)


def _shift_numpy() -> None:
    _shifted.append("numpy")
    default_rng = np.random.default_rng

    def shifted_rng(seed: Any = None) -> np.random.Generator:
        if _from_tests() and isinstance(seed, int | np.integer):
            seed = int(seed) + offset()
        elif _from_tests() and isinstance(seed, Sequence):
            seed = (*seed, offset())
        return default_rng(seed)

    np.random.default_rng = shifted_rng


def _shift_torch() -> None:
    try:
        import torch
    except ImportError:
        return
    _shifted.append("torch")
    manual_seed = torch.manual_seed

    def shifted_manual_seed(seed: Any) -> torch.Generator:
        return manual_seed(int(seed) + offset() if _from_tests() else seed)

    class Generator(torch.Generator):
        def manual_seed(self, seed: int) -> torch.Generator:
            return super().manual_seed(seed + offset() if _from_tests() else seed)

    torch.manual_seed = shifted_manual_seed
    torch.Generator = Generator  # type: ignore[misc]
