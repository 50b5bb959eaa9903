"""Runs of an ablation as real processes: bounded, interrupted, failing, taken up again."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.progress import Progress

from flashtalk.engine.sampling import SAMPLING_FILE
from training.ablate.jobs import Jobs
from training.ablate.place import AblationPlace
from training.ablate.plan import Run

RUNS = tuple(Run("row", seed) for seed in range(4))
# Leaves a mark while it goes, ends early when it is asked to, as a training does.
PROGRAM = """
import signal, sys, time
from pathlib import Path
folder, name, seconds, code = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
going = folder / f"going-{name}"
going.touch()
def stop(*_):
    going.unlink()
    (folder / f"stopped-{name}").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
seen = len(list(folder.glob("going-*")))
(folder / f"seen-{name}").write_text(str(seen))
time.sleep(seconds)
going.unlink()
print("warming up")
print("why", name, "ended")
if code == 0:
    (folder / f"done-{name}").touch()
sys.exit(code)
"""


class StandInCommands:
    """Sleeps instead of training; ``codes`` are the exit codes of runs that fail."""

    threads = 1
    environment: Mapping[str, str] = {}

    def __init__(self, folder: Path, seconds: float, codes: Mapping[Run, int]) -> None:
        self.folder, self.seconds, self.codes = folder, seconds, codes

    def is_done(self, run: Run, _place: AblationPlace) -> bool:
        return (self.folder / f"done-{run.name}").exists()

    def next(self, run: Run, _place: AblationPlace) -> list[str]:
        return [sys.executable, "-c", PROGRAM, str(self.folder), run.name, str(self.seconds),
                str(self.codes.get(run, 0))]  # fmt: skip


def jobs(
    folder: Path, seconds: float = 0.1, at_once: int = 2, codes: Mapping[Run, int] | None = None
) -> Jobs:
    place = AblationPlace(folder)
    (folder / "runs").mkdir(exist_ok=True)
    commands = StandInCommands(folder, seconds, codes or {})
    return Jobs(place, commands, at_once)  # type: ignore[arg-type]


def done(folder: Path) -> set[str]:
    return {path.name.removeprefix("done-") for path in folder.glob("done-*")}


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_processes_than_asked_for(at_once: int, tmp_path: Path) -> None:
    with Progress(disable=True) as progress:
        assert jobs(tmp_path, 0.6, at_once).work_off(RUNS, progress) == {}
    assert done(tmp_path) == {run.name for run in RUNS}
    seen = [int((tmp_path / f"seen-{run.name}").read_text()) for run in RUNS]
    assert max(seen) <= at_once


def test_a_failed_run_is_named_with_its_last_words_and_the_others_go_on(tmp_path: Path) -> None:
    with Progress(disable=True) as progress:
        failed = jobs(tmp_path, codes={RUNS[1]: 3}).work_off(RUNS, progress)
    assert failed == {RUNS[1]: "why row-seed1 ended"}
    assert done(tmp_path) == {run.name for run in RUNS} - {"row-seed1"}


def test_a_run_waits_for_those_that_say_how_long_it_is(tmp_path: Path) -> None:
    waits = Run("row", 0, as_long_as="other")
    other, same = waits.needs
    place = AblationPlace(tmp_path)
    for run in (same, waits):
        place.student(run).mkdir(parents=True)
    (place.student(same) / SAMPLING_FILE).touch()
    with Progress(disable=True) as progress:
        failed = jobs(tmp_path, codes={other: 3}).work_off((waits, other, same), progress)
    assert set(failed) == {other, waits}
    assert "how long" in failed[waits]
    assert done(tmp_path) == {same.name}
    (place.student(other)).mkdir(parents=True)
    (place.student(other) / SAMPLING_FILE).touch()
    with Progress(disable=True) as progress:
        assert jobs(tmp_path).work_off((waits, other, same), progress) == {}
    assert waits.name in done(tmp_path)


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_when_asked_to_end_no_process_is_left_and_the_rest_is_done_next_time(
    asked: signal.Signals, tmp_path: Path
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    first = jobs(tmp_path, seconds=60)

    def interrupt() -> None:
        until_s = time.monotonic() + 30
        while len(list(tmp_path.glob("going-*"))) < 2 and time.monotonic() < until_s:
            time.sleep(0.02)
        signal.raise_signal(asked)

    presser = threading.Thread(target=interrupt)
    presser.start()
    with Progress(disable=True) as progress, pytest.raises(KeyboardInterrupt):
        first.work_off(RUNS, progress)
    presser.join()
    assert len(list(tmp_path.glob("stopped-*"))) == 2
    assert not list(tmp_path.glob("going-*"))
    assert signal.getsignal(signal.SIGTERM) == handler
    with Progress(disable=True) as progress:
        assert jobs(tmp_path).work_off(RUNS, progress) == {}
    assert done(tmp_path) == {run.name for run in RUNS}
