"""The loop: exact resume, signals, gates, limits, learning-rate schedules."""

import dataclasses
import math
import os
import signal
from pathlib import Path

import pytest
import torch

from flashtalk.errors import InputError
from tests.unit.training.toy_task import ToyTask
from training.core.checkpoint import find_run_checkpoint, save_run_checkpoint
from training.core.config import (
    CadenceConfig,
    Every,
    Gate,
    OptimizerConfig,
    ScheduleConfig,
    TrainerConfig,
)
from training.core.errors import GateError, TrainingError
from training.core.overrides import apply_overrides
from training.core.trainer import Trainer
from training.core.world import World

STEPS = 20
CONFIG = TrainerConfig(
    ScheduleConfig(steps=STEPS),
    OptimizerConfig(lr=0.05),
    CadenceConfig(evaluate=Every(), log_every_steps=1),
    threads=1,
)


def step_kept(run_dir: Path) -> int:
    """Of the checkpoint."""
    checkpoint = find_run_checkpoint(run_dir, "toy")
    assert checkpoint is not None
    return int(checkpoint.values["step"])


def run(task: ToyTask, run_dir: Path, config: TrainerConfig = CONFIG) -> None:
    Trainer("toy", config, task, run_dir).run(export_dir=run_dir / "export")


@pytest.mark.parametrize("cut", [1, 7, 19])
def test_a_run_stopped_anywhere_and_resumed_repeats_the_unbroken_run(
    tmp_path: Path, cut: int
) -> None:
    whole = ToyTask()
    run(whole, tmp_path / "whole")

    def kill(step: int) -> None:
        if step == cut:
            os.kill(os.getpid(), signal.SIGTERM)

    first = ToyTask(on_step=kill)
    run(first, tmp_path / "broken")
    assert max(first.losses) == cut
    assert not (tmp_path / "broken/export").exists()
    second = ToyTask()
    run(second, tmp_path / "broken")

    assert second.prepared == [True]
    assert {**first.losses, **second.losses} == whole.losses
    exported = [torch.load(tmp_path / d / "export/toy.pt") for d in ("whole", "broken")]
    assert torch.equal(exported[0]["weight"], exported[1]["weight"])


def test_a_crash_goes_on_from_the_last_periodic_checkpoint(tmp_path: Path) -> None:
    whole = ToyTask()
    run(whole, tmp_path / "whole")

    def crash(step: int) -> None:
        if step == 13:
            raise OSError("power cut")

    config = apply_overrides(CONFIG, ["checkpoint.steps=5"])
    with pytest.raises(OSError, match="power cut"):
        run(ToyTask(on_step=crash), tmp_path / "broken", config)
    second = ToyTask()
    run(second, tmp_path / "broken", config)
    assert min(second.losses) == 10
    assert second.losses == {s: v for s, v in whole.losses.items() if s >= 10}


def test_evaluations_do_not_change_the_run(tmp_path: Path) -> None:
    plain, often = ToyTask(), ToyTask()
    run(plain, tmp_path / "plain")
    run(often, tmp_path / "often", apply_overrides(CONFIG, ["evaluate.steps=3"]))
    assert plain.losses == often.losses


def test_a_run_learns_and_exports_averaged_weights(tmp_path: Path) -> None:
    task = ToyTask()
    run(task, tmp_path, apply_overrides(CONFIG, ["schedule.steps=200", "ema_decay=0.9"]))
    assert task.losses[199] < 0.1 * task.losses[0]
    exported = torch.load(tmp_path / "export/toy.pt")["weight"]
    assert torch.allclose(exported, torch.ones_like(exported), atol=0.1)
    assert not torch.equal(exported, task.model.weight)


def test_a_missed_gate_ends_the_run_and_names_metric_and_step(tmp_path: Path) -> None:
    gate = Gate(step=8, metric="weight", minimum=9.0)
    config = apply_overrides(dataclasses.replace(CONFIG, gates=(gate,)), ["evaluate.steps=4"])
    with pytest.raises(GateError, match=r"weight is .* at step 8"):
        run(ToyTask(), tmp_path / "gated", config)
    task = ToyTask()
    run(task, tmp_path / "open", dataclasses.replace(config, gates_on=False))
    assert max(task.losses) == STEPS - 1


def test_a_run_too_short_for_its_gates_exports_nothing_that_collapsed(tmp_path: Path) -> None:
    gate = Gate(step=10 * STEPS, metric="weight", minimum=9.0)
    run(ToyTask(), tmp_path / "learning", dataclasses.replace(CONFIG, gates=(gate,)))
    assert (tmp_path / "learning/export/toy.pt").exists()
    collapse = dataclasses.replace(gate, at_end=True)
    config = dataclasses.replace(CONFIG, gates=(collapse,))
    with pytest.raises(GateError, match=f"at step {STEPS}.*at the end"):
        run(ToyTask(), tmp_path / "collapsed", config)
    assert not (tmp_path / "collapsed/export").exists()
    assert step_kept(tmp_path / "collapsed") == STEPS
    run(ToyTask(), tmp_path / "collapsed", dataclasses.replace(config, gates_on=False))
    assert (tmp_path / "collapsed/export/toy.pt").exists()


def test_a_metric_that_leaves_its_range_stops_the_run_and_says_why() -> None:
    gate = Gate(0, "lag", 0.5, 1.2, "the fake score lags")
    assert gate.missed(0.5) == gate.missed(1.2) == ""
    assert gate.missed(0.4) == "below 0.5: the fake score lags"
    assert gate.missed(1.3) == "above 1.2: the fake score lags"
    assert gate.missed(math.nan)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    task = ToyTask()

    def spoil(step: int) -> None:
        if step == 6:
            with torch.no_grad():
                task.model.weight.fill_(math.inf)

    task.on_step = spoil
    config = apply_overrides(CONFIG, ["checkpoint.steps=5"])
    with pytest.raises(TrainingError, match="step 6"):
        run(task, tmp_path, config)
    assert step_kept(tmp_path) == 5


def test_the_time_limit_stops_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    config = apply_overrides(CONFIG, [f"schedule.steps={10**9}", "minutes=0.003"])
    outcome = Trainer("toy", config, ToyTask(), tmp_path).run()
    assert outcome.ended == "interrupted"
    assert step_kept(tmp_path) == outcome.step


def test_a_time_schedule_finishes_when_the_budget_does(tmp_path: Path) -> None:
    config = apply_overrides(CONFIG, ["schedule.by=time", "schedule.steps=1", "minutes=0.005"])
    outcome = Trainer("toy", config, ToyTask(), tmp_path).run()
    assert outcome.ended == "finished"
    assert outcome.step > 1


def test_computing_is_counted_in_processor_time_over_all_parts_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs beside a run must not change what it cost: 3 s a step, whatever a clock
    says."""
    processor = {"s": 100.0}
    monkeypatch.setattr("training.core.trainer.time.process_time", lambda: processor["s"])

    def compute(step: int) -> None:
        processor["s"] += 3.0
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    run(ToyTask(on_step=compute), tmp_path)
    processor["s"] = 0.5  # another process
    run(ToyTask(on_step=compute), tmp_path)
    checkpoint = find_run_checkpoint(tmp_path, "toy")
    assert checkpoint is not None
    assert checkpoint.values["compute_s"] == pytest.approx(3.0 * STEPS)


def test_a_checkpoint_of_another_recipe_size_or_optimizer_is_refused(tmp_path: Path) -> None:
    run(ToyTask(), tmp_path)
    with pytest.raises(TrainingError, match="'toy', not 'other'"):
        Trainer("other", CONFIG, ToyTask(), tmp_path).run()
    wide = ToyTask()
    wide.model = torch.nn.Linear(5, 1)
    with pytest.raises(TrainingError, match="a different model size"):
        run(wide, tmp_path)
    muon = apply_overrides(CONFIG, ["optimizer.name=muon", "muon_inside=weight"])
    with pytest.raises(TrainingError, match="or optimizer"):
        run(ToyTask(), tmp_path, muon)


def test_an_interrupted_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    alone, tensors = World.alone(), {"a": torch.arange(3.0)}
    save_run_checkpoint(tmp_path, "toy", {"step": 1}, tensors, alone)
    with pytest.raises(TypeError, match="JSON"):
        save_run_checkpoint(tmp_path, "toy", {"step": 2, "bad": object()}, tensors, alone)
    assert step_kept(tmp_path) == 1
    save_run_checkpoint(tmp_path, "toy", {"step": 10}, {"a": torch.ones(3)}, alone)
    newest = find_run_checkpoint(tmp_path, "toy")
    assert newest is not None
    assert torch.equal(newest.read()["a"], torch.ones(3))
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["step-10"]


def test_a_checkpoint_that_is_damaged_is_named(tmp_path: Path) -> None:
    run(ToyTask(), tmp_path)
    kept = find_run_checkpoint(tmp_path, "toy")
    assert kept is not None
    (kept.folder / "run.json").write_text("{")
    with pytest.raises(TrainingError, match="step-20: not a readable checkpoint"):
        run(ToyTask(), tmp_path)


def test_learning_rate_warms_up_then_decays_to_its_floor() -> None:
    schedule = ScheduleConfig(warmup_ratio=0.1, min_lr_ratio=0.05)
    rates = [schedule.lr_ratio(i / 100) for i in range(101)]
    peak = rates.index(max(rates))
    assert peak == 10
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[0] > 0
    assert rates[-1] == pytest.approx(0.05)
    assert dataclasses.replace(schedule, decay="constant").lr_ratio(1.0) == 1.0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (["schedule.steps=0"], "steps"),
        (["schedule.by=time"], "minutes"),
        (["warmup_ratio=1"], "warmup_ratio"),
        (["ema_decay=1"], "ema_decay"),
        (["betas=0.9"], "betas"),
        (["lr=-1"], "lr"),
        (["lr=0", "optimizer.name=muon"], "lr"),
        (["threads=0"], "threads"),
        (["log_every_steps=0"], "log_every_steps"),
    ],
)
def test_a_config_that_cannot_run_is_refused(changes: list[str], field: str) -> None:
    with pytest.raises(InputError, match=field):
        apply_overrides(CONFIG, changes)


def test_an_interval_is_over_by_whichever_of_its_limits_comes_first() -> None:
    assert not Every().is_over(1e9, 10**9)
    assert not Every(seconds=2, steps=3).is_over(1.9, 2)
    assert Every(seconds=2, steps=3).is_over(2.0, 0)
    assert Every(seconds=2, steps=3).is_over(0.0, 3)
