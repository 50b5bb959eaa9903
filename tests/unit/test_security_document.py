"""The threat model names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_test_that_the_threat_model_names_exists(repo_root: Path) -> None:
    text = (repo_root / "docs" / "security.md").read_text()
    named = re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", text)
    assert len(named) > 20
    for file, test in named:
        found = (repo_root / file).read_text()
        assert not test or f"def {test}(" in found, f"{file}::{test}"
