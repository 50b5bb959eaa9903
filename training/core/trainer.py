"""The training loop: optimizer, schedule, averaging, checkpoints, evaluation, gates."""

import math
import random
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import torch

from flashtalk.terminal import stopping_signals
from training.core.board import Board
from training.core.checkpoint import (
    RunCheckpoint,
    find_run_checkpoint,
    random_state,
    restore_random_state,
    save_run_checkpoint,
)
from training.core.config import Every, Gate, TrainerConfig
from training.core.errors import GateError
from training.core.learner import Learner
from training.core.progress import RunProgress
from training.core.task import StepContext, Task
from training.core.world import World


@dataclass(frozen=True)
class Outcome:
    """The end of a run: its reason and its number of steps."""

    ended: Literal["finished", "interrupted"]
    step: int


class Trainer:
    """Runs one task in one run directory, from its last checkpoint if it has one.

    SIGTERM and SIGINT end the run after the step in progress, with a checkpoint.
    """

    def __init__(
        self,
        recipe: str,
        config: TrainerConfig,
        task: Task,
        run_dir: Path,
        world: World | None = None,
    ) -> None:
        self.recipe = recipe
        self.config = config
        self.task = task
        self.run_dir = run_dir
        self.world = world or World.alone(config.device)
        self.step = 0
        self._elapsed_before_s = self._compute_before_s = 0.0
        self._started_s = self._compute_started_s = 0.0
        self._stop_asked = self._stopped = False
        run_dir.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(config.threads)

    def run(self, *, export_dir: Path | None = None) -> Outcome:
        """Trains to the end of the schedule, then evaluates and exports.

        Raises:
            GateError: a gate was missed (the checkpoint remains, nothing is exported).
            TrainingError: a loss or gradient was not finite, or the checkpoint does not fit.
        """
        _seed_everything(self.config.seed)
        state = find_run_checkpoint(self.run_dir, self.recipe)
        self.task.prepare(resumed=state is not None)
        learner = Learner(self.recipe, self.config, self.task, self.world)
        if state is not None:
            self._restore(state, learner)
        board = Board(self.run_dir, self.step, quiet=not self.world.first)
        self._started_s, self._compute_started_s = time.monotonic(), self._compute_clock()
        try:
            quiet = not self.world.first
            with (
                _stop_signals(self),
                RunProgress(self.recipe, done=self.step, quiet=quiet) as progress,
            ):
                if state is not None:
                    progress.say(f"{self.recipe}: resumed at step {self.step} from {self.run_dir}")
                self._loop(learner, board, progress)
                self._save(learner)
                if self._stopped or not self._is_done():
                    progress.say(f"{self.recipe}: stopped at step {self.step}, checkpoint saved")
                    return Outcome("interrupted", self.step)
                metrics = self._evaluate(learner, board, progress)
                self._check_gates(metrics, at_end=True)
                self._report_targets(metrics, progress)
                if export_dir is not None:
                    with learner.ema.applied():
                        self.task.export(export_dir)
                    progress.say(f"{self.recipe}: exported to {export_dir}")
        finally:
            board.close()
        return Outcome("finished", self.step)

    def ask_to_stop(self) -> None:
        """Ends the run after the current step, with a checkpoint."""
        self._stop_asked = True

    def _elapsed_s(self) -> float:
        return self._elapsed_before_s + time.monotonic() - self._started_s

    def _compute_clock(self) -> float:
        """On a CPU the processor time of all threads: programs beside it do not count."""
        return time.process_time() if self.world.device.type == "cpu" else time.monotonic()

    def _compute_s(self) -> float:
        return self._compute_before_s + self._compute_clock() - self._compute_started_s

    def _completed(self) -> float:
        return self.config.schedule.completed(self.step, self._elapsed_s())

    def _is_done(self) -> bool:
        return self._completed() >= 1.0

    def _out_of_time(self) -> bool:
        return 0 < 60.0 * self.config.schedule.minutes <= self._elapsed_s()

    def _ended(self) -> bool:
        """Agrees on stopping: clocks and signals differ between ranks."""
        self._stopped = self.world.any(self._stop_asked)
        return self._stopped or self.world.any(self._is_done() or self._out_of_time())

    def _loop(self, learner: Learner, board: Board, progress: RunProgress) -> None:
        cadence = self.config.cadence
        since_save = _Interval(cadence.checkpoint, self.step)
        since_evaluation = _Interval(cadence.evaluate, self.step)
        smooth: dict[str, float] = {}
        while not self._ended():
            rate = self.config.optimizer.lr * self.config.schedule.lr_ratio(self._completed())
            losses = self._one_step(learner, rate)
            self.step += 1
            board.step = self.step
            for name, value in losses.items():
                smooth[name] = 0.95 * smooth.get(name, value) + 0.05 * value
            if self.step % cadence.log_every_steps == 0:
                board.scalars({**losses, "lr": rate}, "train")
            progress.update(self.step, self._completed(), {**smooth, "lr": rate})
            if self.world.any(since_save.is_over(self.step)):
                self._save(learner)
                since_save.restart(self.step)
            if self.world.any(not self._is_done() and since_evaluation.is_over(self.step)):
                metrics = self._evaluate(learner, board, progress)
                since_evaluation.restart(self.step)
                self._check_gates(metrics)

    def _one_step(self, learner: Learner, rate: float) -> dict[str, float]:
        losses: dict[str, float] = {}
        world = self.world
        context = StepContext.create(self.config.seed, self.step, world.rank, world.size)
        for update in self.task.updates(context):
            losses |= learner.apply(update, rate, self.step)
        return losses

    def _evaluate(self, learner: Learner, board: Board, progress: RunProgress) -> dict[str, float]:
        # Evaluation draws must not change the state of the training generators.
        generators = random_state()
        modes = {module: module.training for module in learner.modules.values()}
        for module in modes:
            module.eval()
        with learner.ema.applied(), torch.no_grad():
            metrics = dict(self.task.evaluate(board))
        for module, training in modes.items():
            module.train(training)
        restore_random_state(generators)
        board.scalars(metrics, "eval")
        board.record({**metrics, "elapsed_s": self._elapsed_s()})
        shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        progress.say(f"{self.recipe}: step {self.step} eval: {shown}")
        return metrics

    def _check_gates(self, metrics: Mapping[str, float], *, at_end: bool = False) -> None:
        if not self.config.gates_on:
            return
        for gate in self.config.gates:
            value = metrics.get(gate.metric, math.nan)
            looked_at = self.step >= gate.step or (at_end and gate.at_end)
            if looked_at and (why := gate.missed(value)):
                raise GateError(
                    f"{self.recipe}: {gate.metric} is {value:.4g} at step {self.step}, {why} "
                    f"(gate {_since(gate)}; gates_on=false disables gates)"
                )

    def _report_targets(self, metrics: Mapping[str, float], progress: RunProgress) -> None:
        for target in self.config.targets:
            value = metrics.get(target.metric, -math.inf)
            verdict = "reached" if value >= target.minimum else "MISSED"
            progress.say(
                f"{self.recipe}: target {target.metric} >= {target.minimum:g}: "
                f"{value:.4g} {verdict}"
            )

    def _save(self, learner: Learner) -> None:
        values = {
            "step": self.step,
            "elapsed_s": self._elapsed_s(),
            "compute_s": self._compute_s(),
            "seed": self.config.seed,
            "averaged": learner.ema.updates,
        }
        save_run_checkpoint(self.run_dir, self.recipe, values, learner.tensors(), self.world)

    def _restore(self, state: RunCheckpoint, learner: Learner) -> None:
        learner.make_room(state.shapes)
        state.load(learner.tensors(), self.world)
        learner.ema.updates = int(state.values["averaged"])
        state.restore_random(self.world)
        self.step = int(state.values["step"])
        self._elapsed_before_s = float(state.values["elapsed_s"])
        self._compute_before_s = float(state.values["compute_s"])


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _since(gate: Gate) -> str:
    return f"from step {gate.step}" + (" and at the end" if gate.at_end else "")


class _Interval:
    """The seconds and steps since its last start."""

    def __init__(self, every: Every, step: int) -> None:
        self._every = every
        self.restart(step)

    def restart(self, step: int) -> None:
        self._started_s, self._first_step = time.monotonic(), step

    def is_over(self, step: int) -> bool:
        return self._every.is_over(time.monotonic() - self._started_s, step - self._first_step)


@contextmanager
def _stop_signals(trainer: Trainer) -> Iterator[None]:
    """Makes a signal stop the trainer; a second signal has its previous effect."""
    kept: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        trainer.ask_to_stop()
        signal.signal(number, kept[number])

    try:
        for number in map(int, stopping_signals()):
            kept[number] = signal.signal(number, stop)
    except ValueError:
        # Not in the main thread: the caller uses ask_to_stop() instead.
        kept = {}
    try:
        yield
    finally:
        for stopped, handler in kept.items():
            signal.signal(stopped, handler)
