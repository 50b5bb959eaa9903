"""What every test gets: a marker by folder, one seed, one thread per test process, goldens."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parent
KINDS = ("unit", "integration", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the folder it lives in, so that ``-m unit`` needs no decorators."""
    for item in items:
        if not item.path.is_relative_to(TESTS):
            continue
        kind = item.path.relative_to(TESTS).parts[0]
        if kind in KINDS:
            item.add_marker(kind)
        if kind == "e2e":
            # Starting four programs again and again takes a busy machine a while.
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session", autouse=True)
def single_thread() -> None:
    """One torch thread per process: small tensors gain nothing from more, and results repeat.

    Without torch there is nothing to set: the torch-free half is tested all the same.
    """
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers for each test, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Folder of the recorded reference numbers (safetensors, with a json beside each)."""
    return TESTS / "goldens"


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """Root of the checkout."""
    return TESTS.parent
