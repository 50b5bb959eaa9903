"""Every metric that a service declares is described to operators, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

from tests.fakes.watching_files import declared


def test_the_document_lists_the_metrics_that_there_are(repo_root: Path) -> None:
    text = (repo_root / "docs/observability.md").read_text()
    described = set(re.findall(r"`(flashtalk_[a-z_]+)[`{]", text))
    assert described == {name for name in declared() if name.startswith("flashtalk_")}
