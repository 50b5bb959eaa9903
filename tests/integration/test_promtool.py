"""What only Prometheus can say: queries parse, rules are sound, alerts fire and are silent."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.fakes.watching_files import RULES, RULES_TEST, queries
from tests.patience import patient


def promtool(*arguments: str | Path) -> str:
    """Its output; it must succeed."""
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=patient(120), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_query_of_every_panel_parses(tmp_path: Path) -> None:
    """As a recorded rule, for promtool checks those; JSON is YAML too."""
    rules = [
        {"record": f"panel:query:{number}", "expr": re.sub(r"\$__rate_interval", "1m", query.expr)}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "panels.yaml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_the_alerts_are_sound() -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_every_alert_fires_when_it_must_and_is_silent_when_it_must_not() -> None:
    assert "SUCCESS" in promtool("test", "rules", RULES_TEST)
