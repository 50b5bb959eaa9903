"""Weights of a micro model for suites of real processes, and what the engine makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from flashtalk.engine import Pipeline, load_pipeline
from tests.fakes.weights import micro_pipeline, write_own


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own(micro_pipeline(), tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="session")
def pipeline(weights: Path) -> Pipeline:
    """The same weights without any service."""
    return load_pipeline("tiny", weights, device="cpu")
