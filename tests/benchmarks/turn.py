"""``python -m tests.benchmarks.turn``: what a turn of Stage 2 takes, and which part of it.

Processor time of one thread, so that other programs on the machine count little. A cycle is what
lies between two updates of the student: one of it and five of the fake score in ``tiny_distill``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from flashtalk.cli.bench_report import machine
from training.core.learner import Learner
from training.core.native_bf16 import without_slow_bf16
from training.core.overrides import apply_overrides
from training.core.task import StepContext
from training.core.world import World
from training.places import Places
from training.recipes import RECIPES
from training.recipes.registry import find_recipe
from training.tasks.stage2 import DistillRecipe, DistillTask


class PartClock:
    """Processor seconds by part; a part inside another one counts for itself only."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._open: list[str] = []
        self._since_s = time.process_time()

    def _settle(self) -> None:
        now_s = time.process_time()
        if self._open:
            self.spent_s[self._open[-1]] += now_s - self._since_s
        self._since_s = now_s

    @contextmanager
    def part(self, name: str) -> Any:
        """What runs inside belongs to ``name``."""
        self._settle()
        self._open.append(name)
        self.calls[name] += 1
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def timed(self, name: Callable[[], str], call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, measured."""

        def measured(*args: Any, **kwargs: Any) -> Any:
            with self.part(name()):
                return call(*args, **kwargs)

        return measured


@dataclass(frozen=True)
class PartCost:
    """Of one part, per turn."""

    name: str
    calls: float
    seconds: float


def watch(task: DistillTask, clock: PartClock) -> None:
    """Measures the three networks and the step between two chunks."""
    matching = task.matching

    def kind(name: str) -> Callable[[], str]:
        return lambda: f"{name}, {'with' if torch.is_grad_enabled() else 'without'} a graph"

    for name in ("student", "fake", "real"):
        network = getattr(matching, name)
        network.forward = clock.timed(kind(name), network.forward)
    matching._next_motion = clock.timed(lambda: "decode and encode", matching._next_motion)


def measure(overrides: list[str], cycles: int, weights: Path, data: Path) -> list[PartCost]:
    """The parts of a turn, means over whole cycles, the first one left out."""
    recipe = find_recipe("tiny_distill", RECIPES)
    asked = apply_overrides(recipe.full(), ["trainer.threads=1", *overrides])
    assert isinstance(asked, DistillRecipe)
    config = without_slow_bf16(asked, torch.device("cpu"))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        world = World.alone()
        task = config.task(Places(Path(folder), data, data / "features", weights), world)
        task.prepare(resumed=False)
        learner = Learner(recipe.name, config.trainer, task, world)
        clock = PartClock()
        watch(task, clock)
        each = config.student_every
        for step in range(each * (cycles + 1)):
            if step == each:
                clock.spent_s.clear()
                clock.calls.clear()
            with clock.part("losses, sampling, the rest"):
                for update in task.updates(StepContext.create(0, step)):
                    with clock.part("backward and optimizer"):
                        learner.apply(update, config.trainer.optimizer.lr, step)
    turns = each * cycles
    return [
        PartCost(name, clock.calls[name] / turns, spent_s / turns)
        for name, spent_s in sorted(clock.spent_s.items(), key=lambda item: -item[1])
    ]


def show(costs: list[PartCost], console: Console) -> None:
    """The table, with the sum."""
    total = PartCost("a turn", 1.0, sum(cost.seconds for cost in costs))
    table = Table(title="a turn of Stage 2, processor seconds of one thread")
    for title in ("part", "calls", "s", "share"):
        table.add_column(title, justify="left" if title == "part" else "right")
    for cost in (*costs, replace(total)):
        table.add_row(
            cost.name,
            f"{cost.calls:.2f}",
            f"{cost.seconds:.3f}",
            f"{cost.seconds / total.seconds:.0%}",
        )
    console.print(table)


def main() -> None:
    """``pool=0 matching.exits.fixed=true matching.exits.chunks=3`` is the report's loop."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path(".cache/synthtalk"))
    parser.add_argument("--weights", type=Path, default=Path("weights/tiny"))
    parser.add_argument("--cycles", type=int, default=4)
    parser.add_argument("--json", type=Path, default=Path("out/turn.json"))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="fields of the recipe")
    given = parser.parse_args()
    costs = measure(given.overrides, given.cycles, given.weights, given.data)
    show(costs, Console())
    given.json.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": machine(),
        "overrides": given.overrides,
        "cycles": given.cycles,
        "turn_s": sum(cost.seconds for cost in costs),
        "parts": [asdict(cost) for cost in costs],
    }
    given.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
