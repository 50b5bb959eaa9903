"""Trains and evaluates the runs in separate processes, a few at a time."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from training.ablate.place import AblationPlace
from training.ablate.plan import AblationRun

_POLL_S = 0.5
_END_S = 120.0
_FRACTION = re.compile(r"(\d+\.\d)%")


@dataclass(frozen=True)
class Commands:
    """Settings of training and evaluation for all runs.

    Args:
        data: rendered splits; ``train`` and ``val`` to train, ``test`` and ``long`` to evaluate.
        training: fields of the recipe, and ``--smoke``.
        evaluation: options of ``training.evaluate``.
        threads: per process.
        environment: of the processes; threads that spin while waiting take time from the others.
    """

    data: Path
    training: Sequence[str] = ()
    evaluation: Sequence[str] = ()
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    def train(self, run: AblationRun, place: AblationPlace) -> list[str]:
        """Returns the command of a training, which resumes by itself."""
        turns = [f"schedule.steps={turns_of(run, place)}"] if run.needs else []
        return [
            sys.executable,
            "-m",
            "training.train",
            "--recipe",
            run.recipe,
            "--data",
            str(self.data),
            "--weights",
            str(place.weights),
            "--run-dir",
            str(place.run_dir(run)),
            f"role={run.name}",
            f"trainer.seed={run.seed}",
            f"trainer.threads={self.threads}",
            *self.training,
            *turns,
        ]

    def evaluate(self, run: AblationRun, place: AblationPlace) -> list[str]:
        """Returns the evaluation's command; without colour correction, which would hide drift."""
        splits = [
            str(self.data / split) for split in ("test", "long") if (self.data / split).is_dir()
        ]
        return [
            sys.executable,
            "-m",
            "training.evaluate",
            "--weights",
            str(place.student(run)),
            *(part for split in splits for part in ("--data", split)),
            "--cache",
            str(place.root / "clips"),
            "--readings",
            str(place.root / "readings"),
            "--out",
            str(place.report(run)),
            "--color-strength",
            "0",
            *self.evaluation,
        ]

    def is_done(self, run: AblationRun, place: AblationPlace) -> bool:
        """Whether a run is finished."""
        return place.is_trained(run) and place.is_evaluated(run)

    def next(self, run: AblationRun, place: AblationPlace) -> list[str]:
        """Returns the next command of an unfinished run."""
        return self.evaluate(run, place) if place.is_trained(run) else self.train(run, place)


def turns_of(run: AblationRun, place: AblationPlace) -> int:
    """Returns the turns of a run with another's time: those that its recipe makes in that time."""
    other, same = (place.cost(needed) for needed in run.needs)
    return max(1, round(other.compute_s / same.turn_s))


@dataclass
class Jobs:
    """A bounded number of processes; all are waited for, also after Ctrl-C or SIGTERM.

    Args:
        place, commands: folder of the ablation, and commands of the runs.
        at_once: number of processes.
    """

    place: AblationPlace
    commands: Commands
    at_once: int = 1
    _going: dict[AblationRun, subprocess.Popen[bytes]] = field(default_factory=dict)

    def work_off(self, runs: Sequence[AblationRun], progress: Progress) -> dict[AblationRun, str]:
        """Finishes all runs; returns the last messages of failed ones.

        A failed run (for example a collapse) is also a result: the others continue.
        """
        for run in runs:
            self.place.note_cost(run)
        waiting = [run for run in runs if not self.commands.is_done(run, self.place)]
        total = progress.add_task("runs", total=len(runs), completed=len(runs) - len(waiting))
        bars = {}
        failed: dict[AblationRun, str] = {}
        # After the end by a scheduler or Ctrl-C no training may keep running.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            while waiting or self._going:
                for run in [run for run in waiting if failed.keys() & set(run.needs)]:
                    waiting.remove(run)
                    failed[run] = "skipped: the run that sets its duration has failed"
                    progress.advance(total)
                for run in self._ready(waiting):
                    waiting.remove(run)
                    bars[run] = progress.add_task(run.name, total=100)
                    self._start(run)
                time.sleep(_POLL_S)
                for run, process in list(self._going.items()):
                    progress.update(bars[run], completed=_percent(self.place.log(run)))
                    if process.poll() is None:
                        continue
                    del self._going[run]
                    self.place.note_cost(run)
                    if process.returncode:
                        failed[run] = _last_line(self.place.log(run))
                    elif not self.commands.is_done(run, self.place):
                        self._start(run)
                        continue
                    progress.remove_task(bars.pop(run))
                    progress.advance(total)
        finally:
            self._end()
            signal.signal(signal.SIGTERM, before)
        return failed

    def _ready(self, waiting: Sequence[AblationRun]) -> Sequence[AblationRun]:
        ready = [run for run in waiting if all(map(self.place.is_trained, run.needs))]
        return ready[: self.at_once - len(self._going)]

    def _start(self, run: AblationRun) -> None:
        environment = {**self.commands.environment, "OMP_NUM_THREADS": str(self.commands.threads)}
        with self.place.log(run).open("ab") as log:
            self._going[run] = subprocess.Popen(
                self.commands.next(run, self.place),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def _end(self) -> None:
        """Asks trainings to stop, which write a checkpoint."""
        for process in self._going.values():
            process.terminate()
        deadline = time.monotonic() + _END_S
        for process in self._going.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()
        self._going.clear()


def progress_of_runs() -> Progress:
    """Shows one bar over all runs, and one for each running one."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )


def _percent(log: Path) -> float:
    found = _FRACTION.findall(_tail(log))
    return float(found[-1]) if found else 0.0


def _last_line(log: Path) -> str:
    lines = _tail(log).split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _tail(log: Path) -> str:
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2048))
        return file.read().decode(errors="replace").replace("\r", "\n")
