"""The finished tables: every row with its intervals, and what its training cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from training.ablate.place import AblationPlace
from training.ablate.plan import AblationPlan, Run
from training.evaluate.comparison import Entry, compare, read_report
from training.evaluate.interval_plot import interval_plot

# All students have one architecture, and their judges ran side by side.
_NOT_OF_TRAINING = ("fps",)


def write_tables(
    plan: AblationPlan, place: AblationPlace, failed: Mapping[Run, str]
) -> dict[str, str]:
    """``TABLE.md``, ``.json`` and ``.png`` of every table; gives the texts by table.

    Rows without any finished run are named below the table, with what they ended with.
    """
    texts = {}
    for table in plan.tables:
        entries, costs, lost = [], [], []
        for title, runs in plan.rows(table).items():
            done = [run for run in runs if place.is_judged(run)]
            lost += [f"- {title}, seed {run.seed}: {failed.get(run, 'not finished')}"
                     for run in runs if run not in done]  # fmt: skip
            if done:
                entries.append(Entry(title, tuple(read_report(place.report(run)) for run in done)))
                costs.append(_cost(title, done, place))
        parts = []
        if entries:
            found = compare(entries, without=_NOT_OF_TRAINING)
            (place.root / f"{table}.json").write_text(found.to_json())
            interval_plot(place.root / f"{table}.png", found)
            parts = [found.to_markdown(), _costs(costs)]
        if lost:
            parts.append("Not in the table:\n\n" + "\n".join(lost) + "\n")
        texts[table] = "\n".join(parts)
        (place.root / f"{table}.md").write_text(texts[table])
    return texts


def _cost(title: str, runs: Sequence[Run], place: AblationPlace) -> tuple[str, int, float]:
    last = [_last_metrics(place.run_dir(run)) for run in runs]
    steps = {int(values["step"]) for values in last}
    return title, max(steps), mean(float(values["elapsed_s"]) for values in last)


def _costs(rows: Sequence[tuple[str, int, float]]) -> str:
    lines = ["| training | turns | minutes | s per turn |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {title} | {steps} | {elapsed_s / 60:.1f} | {elapsed_s / steps:.2f} |"
        for title, steps, elapsed_s in rows
    ]
    return "\n".join(lines) + "\n"


def _last_metrics(run_dir: Path) -> Mapping[str, float]:
    lines = (run_dir / "metrics.jsonl").read_text().strip().split("\n")
    values: Mapping[str, float] = json.loads(lines[-1])
    return values
