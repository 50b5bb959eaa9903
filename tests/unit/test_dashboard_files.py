"""Dashboards are well formed, in step with their script, and ask for metrics that there are."""

from __future__ import annotations

import itertools
import re
import sys
from typing import Any

import pytest

from scripts.dashboards.panels import UNITS, WIDTH
from scripts.make_dashboards import differences
from tests.fakes.watching_files import (
    DCGM,
    PROCESS,
    REDIS,
    UP,
    dashboards,
    declared,
    metrics_of,
    queries,
)

BOARDS = dashboards()
VARIABLES = {"datasource", "namespace", "job", "instance"}


@pytest.fixture(params=BOARDS)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    return BOARDS[request.param]


def graphs(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[at] < other[at] + other[size] and other[at] < one[at] + one[size]
        for at, size in (("x", "w"), ("y", "h"))
    )


def test_the_committed_files_are_in_step_with_the_script() -> None:
    assert differences() == [], "run `make dashboards`"


def test_the_first_row_is_the_cycle_of_a_chunk() -> None:
    row, *panels = BOARDS["flashtalk.json"]["panels"][:4]
    assert "Figure 6" in row["title"]
    assert all("Cycle" in panel["title"] for panel in panels[:2])
    stacked, percentiles, factor = panels
    defaults = stacked["fieldConfig"]["defaults"]
    assert defaults["custom"]["stacking"]["mode"] == "normal"
    assert defaults["custom"]["thresholdsStyle"]["mode"] == "line"
    assert defaults["thresholds"]["steps"][-1]["value"] == 1.12
    assert [target["legendFormat"] for target in percentiles["targets"]] == ["p50", "p95", "p99"]
    assert factor["title"] == "Real-time factor"


def test_ids_and_titles_are_there_once(board: dict[str, Any]) -> None:
    for key in ("id", "title"):
        seen = [panel[key] for panel in board["panels"]]
        assert len(seen) == len(set(seen))


def test_panels_are_on_the_grid_and_none_hides_another(board: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in board["panels"]]
    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= WIDTH
    for one, other in itertools.combinations(places, 2):
        assert not overlap(one, other), (one, other)


def test_every_panel_explains_itself(board: dict[str, Any]) -> None:
    for panel in graphs(board):
        text = panel["description"]
        assert re.search(r"Good: .+ Bad: .+|Neither good nor bad", text), panel["title"]
        assert text.endswith(".")
        assert "  " not in text
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["targets"]


def test_descriptions_name_an_alert_where_there_is_one(board: dict[str, Any]) -> None:
    assert sum("(alert)" in panel["description"] for panel in graphs(board)) >= 8


def test_series_of_one_panel_have_names_of_their_own(board: dict[str, Any]) -> None:
    for panel in graphs(board):
        names = [target["legendFormat"] for target in panel["targets"]]
        assert len(names) == len(set(names)), panel["title"]
        labels = {
            label
            for target in panel["targets"]
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"])
        }
        asked = " ".join(target["expr"] for target in panel["targets"])
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", asked))))
        assert labels <= grouped | {"job", "instance", "gpu", "Hostname"}, panel["title"]


def test_variables_are_those_that_queries_use(board: dict[str, Any]) -> None:
    assert {one["name"] for one in board["templating"]["list"]} == VARIABLES
    text = str(board["panels"])
    used = set(re.findall(r"\$(\w+)|\${(\w+)}", text))
    assert {one or other for one, other in used} <= VARIABLES | {"__rate_interval"}


def test_every_metric_that_is_asked_for_exists() -> None:
    names = declared()
    if sys.platform == "linux":
        assert names.keys() >= PROCESS, "on the pages of services on Linux"
    known = set().union(*names.values()) | DCGM | REDIS | PROCESS | UP
    asked = set().union(*(metrics_of(query.expr) for query in queries()))
    assert asked <= known, asked - known
    assert asked >= DCGM | REDIS | PROCESS | UP, "no name is listed for nothing"


def test_every_metric_that_services_declare_is_on_a_panel() -> None:
    asked = set().union(*(metrics_of(query.expr) for query in queries()))
    unseen = {
        name
        for name, samples in declared().items()
        if name.startswith("flashtalk_") and not samples & asked
    }
    assert unseen == set()


def test_every_query_asks_for_something_and_chooses_by_the_variables() -> None:
    for query in queries():
        names = metrics_of(query.expr)
        assert names, query
        if not names & (DCGM | REDIS):
            selectors = re.findall(r"{([^{}]*)}", query.expr)
            assert selectors
            for selector in selectors:
                assert {"$namespace", "$job", "$instance"} <= set(re.findall(r"\$\w+", selector))
