"""The folder of an ablation: the teacher's weights, runs, students, reports, tables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from flashtalk.engine.sampling import SAMPLING_FILE
from flashtalk.errors import InputError
from training.ablate.plan import AblationRun
from training.core.checkpoint import RunCheckpoint, find_run_checkpoint
from training.evaluate.comparison import REPORT_FILE

_SETTINGS, _COST = "settings.json", "cost.json"


@dataclass(frozen=True)
class Cost:
    """Turns of a training and their time, without the evaluations at the end.

    Args:
        turns: number of turns.
        compute_s: on a CPU processor time, which other programs do not change; else elapsed time.
    """

    turns: int
    compute_s: float

    @property
    def turn_s(self) -> float:
        """Returns the mean time of a turn."""
        return self.compute_s / self.turns


@dataclass(frozen=True)
class AblationPlace:
    """Paths below one folder; finished parts are not made again."""

    root: Path

    @property
    def weights(self) -> Path:
        """Returns the teacher by role, and the student of every run in a folder of its name."""
        return self.root / "weights"

    def run_dir(self, run: AblationRun) -> Path:
        """Returns the folder of checkpoints and metrics."""
        return self.root / "runs" / run.name

    def student(self, run: AblationRun) -> Path:
        """Returns the folder of finished weights."""
        return self.weights / run.name

    def report(self, run: AblationRun) -> Path:
        """Returns the folder of its evaluation."""
        return self.root / "reports" / run.name

    def log(self, run: AblationRun) -> Path:
        """Returns the log of training and evaluation."""
        return self.root / "runs" / f"{run.name}.log"

    def is_trained(self, run: AblationRun) -> bool:
        """Whether the student is finished, also if only its report was kept."""
        if (self.student(run) / SAMPLING_FILE).is_file():
            return True
        return self.is_evaluated(run) and (self.report(run) / _COST).is_file()

    def is_evaluated(self, run: AblationRun) -> bool:
        """Whether its report is finished."""
        return (self.report(run) / REPORT_FILE).is_file()

    def cost(self, run: AblationRun) -> Cost:
        """Returns the cost of a finished training."""
        note = self.report(run) / _COST
        if note.is_file():
            return Cost(**json.loads(note.read_text()))
        state = self._state(run)
        assert state is not None, f"{run.name} is not trained"
        return Cost(int(state.values["step"]), float(state.values["compute_s"]))

    def _state(self, run: AblationRun) -> RunCheckpoint | None:
        return find_run_checkpoint(self.run_dir(run), run.recipe)

    def note_cost(self, run: AblationRun) -> None:
        """Writes the cost beside the report, which then has everything for a table."""
        note = self.report(run) / _COST
        if self.is_trained(run) and not note.is_file() and self._state(run) is not None:
            cost = self.cost(run)
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(json.dumps(asdict(cost)) + "\n")

    def prepare(self, weights: Path, teacher: Path, settings: Mapping[str, object]) -> None:
        """Copies the teacher, and saves the settings.

        Raises:
            InputError: missing weights, or a folder with other settings, whose rows could not be
                compared.
        """
        for field, folder in (("--weights", weights), ("--teacher", teacher)):
            if not folder.is_dir():
                raise InputError(field, folder, "must be a folder of finished models")
        note = self.root / _SETTINGS
        text = json.dumps(settings, indent=2, default=str) + "\n"
        if note.is_file():
            if note.read_text() != text:
                raise InputError(
                    "--out", self.root, f"must be a new folder: {note} has different settings"
                )
            return
        shutil.copytree(weights, self.weights, dirs_exist_ok=True)
        if teacher != weights / "dit":
            shutil.rmtree(self.weights / "dit")
            shutil.copytree(teacher, self.weights / "dit")
        (self.root / "runs").mkdir(parents=True, exist_ok=True)
        note.write_text(text)
