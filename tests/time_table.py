"""Where the time of a run went: seconds and tests of each folder, at the end of the log."""

from __future__ import annotations

import collections
from pathlib import PurePosixPath

import pytest

_ROWS = 16
_DEPTH = 3  # tests/unit/models; files that lie higher count for themselves


def folder_of(nodeid: str) -> str:
    """``tests/unit/models`` of a test there; the file itself where it lies higher."""
    path = PurePosixPath(nodeid.partition("::")[0])
    return str(PurePosixPath(*path.parts[:_DEPTH]))


def rows(reports: list[pytest.TestReport]) -> list[tuple[str, float, int]]:
    """Folder, seconds and tests, longest first; seconds of all workers are added up."""
    seconds: collections.Counter[str] = collections.Counter()
    tests: collections.defaultdict[str, set[str]] = collections.defaultdict(set)
    for report in reports:
        folder = folder_of(report.nodeid)
        seconds[folder] += report.duration  # type: ignore[assignment]
        tests[folder].add(report.nodeid)
    return [(folder, float(s), len(tests[folder])) for folder, s in seconds.most_common()]


def show(terminal: pytest.TerminalReporter) -> None:
    """Writes the table, if more than one folder was tested."""
    reports = [
        report
        for kept in terminal.stats.values()
        for report in kept
        if isinstance(report, pytest.TestReport)
    ]
    found = rows(reports)
    if len(found) < 2:
        return
    terminal.section("where the time goes (seconds of all workers)")
    for folder, seconds, count in found[:_ROWS]:
        terminal.write_line(f"{seconds:8.1f} s {count:5} tests  {folder}")
    rest = found[_ROWS:]
    if rest:
        seconds, count = sum(row[1] for row in rest), sum(row[2] for row in rest)
        terminal.write_line(f"{seconds:8.1f} s {count:5} tests  {len(rest)} more")
