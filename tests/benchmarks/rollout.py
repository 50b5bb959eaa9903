"""``python -m tests.benchmarks.rollout``: what rolling out k chunks costs a turn of Stage 2.

The report learns through one step of the last of k chunks; the k - 1 before it are sampled without
a graph. So the time of a turn should grow by the same amount with every chunk, and memory not.
Every k is a process of its own, since a process does not give back the most it ever held.

Legend: K values of k.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from flashtalk.cli.bench_report import machine
from training.core.learner import Learner
from training.core.overrides import apply_overrides
from training.core.task import StepContext
from training.core.world import World
from training.places import Places
from training.recipes import RECIPES
from training.recipes.registry import find_recipe
from training.tasks.stage2 import FAKE, STUDENT, DistillRecipe

_LIMIT_S = 1800.0


@dataclass(frozen=True)
class Cost:
    """Of one k: medians of both kinds of update, and the most memory the process held."""

    chunks: int
    student_s: float
    fake_s: float
    peak_mib: float

    @property
    def turns_s(self) -> float:
        """Five turns of the recipe: one update of the student, five of the fake score."""
        return self.student_s + 5 * self.fake_s


def measure(chunks: int, turns: int, options: Mapping[str, str]) -> Cost:
    """Trains ``turns`` turns, in which both networks move, in this process."""
    recipe = find_recipe("tiny_distill", RECIPES)
    config = apply_overrides(
        recipe.full(),
        [
            "pool=0",
            f"matching.exits.chunks={chunks}",
            "matching.exits.fixed=true",
            "student_every=1",
            f"trainer.threads={options['threads']}",
        ],
    )
    assert isinstance(config, DistillRecipe)
    weights, data = Path(options["weights"]), Path(options["data"])
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder), data, data / "features", weights)
        world = World.alone()
        task = config.task(places, world)
        task.prepare(resumed=False)
        learner = Learner(recipe.name, config.trainer, task, world)
        spent: dict[str, list[float]] = {STUDENT: [], FAKE: []}
        for step in range(turns + 1):
            begun_s = time.perf_counter()
            for update in task.updates(StepContext.create(0, step)):
                learner.apply(update, config.trainer.optimizer.lr, step)
                now_s = time.perf_counter()
                spent[update.group].append(now_s - begun_s)
                begun_s = now_s
    # The first turn fetches weights and makes optimizer states.
    student_s, fake_s = (statistics.median(spent[group][1:]) for group in (STUDENT, FAKE))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(chunks, student_s, fake_s, peak_mib)


def line(costs: Sequence[Cost]) -> tuple[float, float, float]:
    """Straight line through seconds over k: at k = 0, per chunk, and R squared."""
    k_K = np.array([cost.chunks for cost in costs], float)
    s_K = np.array([cost.turns_s for cost in costs])
    slope, base = np.polyfit(k_K, s_K, 1)
    left = float(((s_K - base - slope * k_K) ** 2).sum())
    return float(base), float(slope), 1.0 - left / float(((s_K - s_K.mean()) ** 2).sum())


def show(costs: Sequence[Cost], console: Console) -> None:
    """The table, as ratios to one chunk too."""
    table = Table(title="five turns of Stage 2 (one student, five fake-score updates)")
    for title in ("k", "student s", "fake s", "five turns s", "to k=1", "peak MiB", "to k=1"):
        table.add_column(title, justify="right")
    first = costs[0]
    for cost in costs:
        table.add_row(
            str(cost.chunks),
            f"{cost.student_s:.2f}",
            f"{cost.fake_s:.2f}",
            f"{cost.turns_s:.2f}",
            f"{cost.turns_s / first.turns_s:.2f}",
            f"{cost.peak_mib:.0f}",
            f"{cost.peak_mib / first.peak_mib:.2f}",
        )
    console.print(table)
    base, slope, fit = line(costs)
    console.print(f"seconds = {base:.2f} + {slope:.2f} k, R^2 {fit:.4f}")


def main() -> None:
    """Measures k = 1 .. 5; ``--one`` measures a single k and prints it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", default=".cache/synthtalk", help="rendered splits")
    parser.add_argument("--weights", default="weights/tiny", help="finished models")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("out/rollout.json"))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    options = {name: str(getattr(given, name)) for name in ("data", "weights", "threads")}
    if given.one:
        print(json.dumps(asdict(measure(given.one, given.turns, options))))
        return
    console = Console()
    costs = []
    for chunks in track(range(1, 6), "roll out", console=console):
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.rollout",
            "--one",
            str(chunks),
            "--turns",
            str(given.turns),
        ]
        command += [part for name, value in options.items() for part in (f"--{name}", value)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, timeout=_LIMIT_S
        )
        costs.append(Cost(**json.loads(done.stdout.strip().split("\n")[-1])))
    show(costs, console)
    base, slope, fit = line(costs)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": machine(),
        "costs": [asdict(cost) for cost in costs],
        "seconds": {"base": base, "per_chunk": slope, "r_squared": fit},
    }
    given.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
