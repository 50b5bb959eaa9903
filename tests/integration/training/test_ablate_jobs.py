"""Runs of an ablation as real processes: bounded, interrupted, failing, taken up again."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.progress import Progress

from flashtalk.engine.sampling import SAMPLING_FILE
from tests.patience import wait_until
from training.ablate import jobs as jobs_module
from training.ablate.jobs import Jobs
from training.ablate.place import AblationPlace
from training.ablate.plan import AblationRun

RUNS = tuple(AblationRun("row", seed) for seed in range(4))
# Leaves a mark while it goes, ends early when it is asked to, as a training does. Where there is a
# gate (a named pipe) it waits until somebody opens it.
PROGRAM = """
import signal, sys
from pathlib import Path
folder, name, code = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
going = folder / f"going-{name}"
def stop(*_):
    going.unlink()
    (folder / f"stopped-{name}").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
going.touch()
if (folder / "gate").exists():
    open(folder / "gate").close()
going.unlink()
print("warming up")
print("why", name, "ended")
if code == 0:
    (folder / f"done-{name}").touch()
sys.exit(code)
"""


class StandInCommands:
    """They wait instead of training; ``codes`` are the exit codes of runs that fail."""

    threads = 1
    environment: Mapping[str, str] = {}

    def __init__(self, folder: Path, codes: Mapping[AblationRun, int]) -> None:
        self.folder, self.codes = folder, codes

    def is_done(self, run: AblationRun, _place: AblationPlace) -> bool:
        return (self.folder / f"done-{run.name}").exists()

    def next(self, run: AblationRun, _place: AblationPlace) -> list[str]:
        return [
            sys.executable,
            "-c",
            PROGRAM,
            str(self.folder),
            run.name,
            str(self.codes.get(run, 0)),
        ]


def jobs(folder: Path, at_once: int = 2, codes: Mapping[AblationRun, int] | None = None) -> Jobs:
    place = AblationPlace(folder)
    (folder / "runs").mkdir(exist_ok=True)
    return Jobs(place, StandInCommands(folder, codes or {}), at_once)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at its processes often."""
    monkeypatch.setattr(jobs_module, "_POLL_S", 0.01)


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard, also where whoever started the tests turned it off (a job behind ``&``)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def between_looks(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Instead of waiting until it looks at its processes again."""
    clock = SimpleNamespace(sleep=lambda _: happens(), monotonic=time.monotonic)
    monkeypatch.setattr(jobs_module, "time", clock)


def going(folder: Path) -> int:
    return len(list(folder.glob("going-*")))


def done(folder: Path) -> set[str]:
    return {path.name.removeprefix("done-") for path in folder.glob("done-*")}


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_processes_than_asked_for(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    looks, most = 0, 0

    def look() -> None:
        nonlocal looks, most
        before = len(done(tmp_path))
        expected = min(at_once, len(RUNS) - before)
        most = max(most, going(tmp_path))
        if going(tmp_path) < expected or not expected:
            # One of the last ones has not ended yet: there is no room before it is looked at again.
            threading.Event().wait(0.01)
            return
        looks += 1
        if looks % 3 == 0:  # after it had two more chances to start somebody
            with gate.open("w"):  # until all have come by, whenever they reach it
                wait_until(lambda: len(done(tmp_path)) == before + expected)

    between_looks(monkeypatch, look)
    with Progress(disable=True) as progress:
        assert jobs(tmp_path, at_once).work_off(RUNS, progress) == {}
    assert done(tmp_path) == {run.name for run in RUNS}
    assert most == at_once


def test_a_failed_run_is_named_with_its_last_words_and_the_others_go_on(tmp_path: Path) -> None:
    with Progress(disable=True) as progress:
        failed = jobs(tmp_path, codes={RUNS[1]: 3}).work_off(RUNS, progress)
    assert failed == {RUNS[1]: "why row-seed1 ended"}
    assert done(tmp_path) == {run.name for run in RUNS} - {"row-seed1"}


def test_a_run_waits_for_those_that_say_how_long_it_is(tmp_path: Path) -> None:
    waits = AblationRun("row", 0, as_long_as="other")
    other, same = waits.needs
    place = AblationPlace(tmp_path)
    for run in (same, waits):
        place.student(run).mkdir(parents=True)
    (place.student(same) / SAMPLING_FILE).touch()
    with Progress(disable=True) as progress:
        failed = jobs(tmp_path, codes={other: 3}).work_off((waits, other, same), progress)
    assert set(failed) == {other, waits}
    assert "sets its duration has failed" in failed[waits]
    assert done(tmp_path) == {same.name}
    (place.student(other)).mkdir(parents=True)
    (place.student(other) / SAMPLING_FILE).touch()
    with Progress(disable=True) as progress:
        assert jobs(tmp_path).work_off((waits, other, same), progress) == {}
    assert waits.name in done(tmp_path)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_when_asked_to_end_no_process_is_left_and_the_rest_is_done_next_time(
    asked: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def interrupt() -> None:
        wait_until(lambda: going(tmp_path) == 2)
        signal.raise_signal(asked)

    with monkeypatch.context() as patch:
        between_looks(patch, interrupt)
        with Progress(disable=True) as progress, pytest.raises(KeyboardInterrupt):
            jobs(tmp_path).work_off(RUNS, progress)
    assert len(list(tmp_path.glob("stopped-*"))) == 2
    assert not list(tmp_path.glob("going-*"))
    assert signal.getsignal(signal.SIGTERM) == handler
    gate.unlink()
    with Progress(disable=True) as progress:
        assert jobs(tmp_path).work_off(RUNS, progress) == {}
    assert done(tmp_path) == {run.name for run in RUNS}
