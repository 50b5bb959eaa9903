"""Alerts say what is wrong, how bad it is and what to do; each is tested both ways."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.watching_files import PROCESS, RULES_TEST, UP, alerts, declared, metrics_of

ALERTS = {rule["alert"]: rule for rule in alerts()}


@pytest.fixture(params=ALERTS)
def alert(request: pytest.FixtureRequest) -> dict[str, Any]:
    return ALERTS[request.param]


def test_every_name_is_there_once() -> None:
    assert len(ALERTS) == len(alerts())


def test_an_alert_is_complete(alert: dict[str, Any]) -> None:
    assert re.fullmatch(r"FlashTalk[A-Za-z]+", alert["alert"])
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert re.fullmatch(r"\d+[mh]", alert["for"]), "one bad look is no alert"
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    assert all(text.endswith(".") for key, text in alert["annotations"].items() if key != "runbook")


def test_its_runbook_exists(alert: dict[str, Any], repo_root: Path) -> None:
    document, _, anchor = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (repo_root / document).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headings}


def test_it_asks_for_metrics_that_exist(alert: dict[str, Any]) -> None:
    known = set().union(*declared().values()) | PROCESS | UP
    asked = metrics_of(alert["expr"])
    assert asked
    assert asked <= known


def test_names_in_its_texts_are_labels_that_it_has(alert: dict[str, Any]) -> None:
    used = set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"])))
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", alert["expr"]))))
    assert used <= (grouped or {"job", "instance", "namespace"})


def test_it_is_tested_both_ways(alert: dict[str, Any]) -> None:
    tests = yaml.safe_load(RULES_TEST.read_text(encoding="utf-8"))["tests"]
    expected = [
        bool(one["exp_alerts"])
        for test in tests
        for one in test["alert_rule_test"]
        if one["alertname"] == alert["alert"]
    ]
    assert set(expected) == {True, False}
