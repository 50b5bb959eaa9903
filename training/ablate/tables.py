"""The finished tables: every row with its intervals, and the cost of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from training.ablate.place import AblationPlace, Cost
from training.ablate.plan import AblationPlan, AblationRun
from training.evaluate.comparison import ModelReports, compare, read_report
from training.evaluate.interval_plot import interval_plot

# All students have one architecture, and their evaluations ran in parallel.
_NOT_OF_TRAINING = ("fps",)


def write_tables(
    plan: AblationPlan, place: AblationPlace, failed: Mapping[AblationRun, str]
) -> dict[str, str]:
    """Writes ``TABLE.md``, ``.json`` and ``.png`` of every table; returns the texts by table.

    Rows without any finished run are listed below the table, with their last message.
    """
    texts = {}
    for table in plan.tables:
        entries, costs, lost = [], [], []
        for title, runs in plan.rows(table).items():
            done = [run for run in runs if place.is_evaluated(run)]
            lost += [
                f"- {title}, seed {run.seed}: {failed.get(run, 'not finished')}"
                for run in runs
                if run not in done
            ]
            if done:
                entries.append(
                    ModelReports(title, tuple(read_report(place.report(run)) for run in done))
                )
                costs.append((title, [place.cost(run) for run in done]))
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


def _costs(rows: Sequence[tuple[str, Sequence[Cost]]]) -> str:
    lines = ["| training | turns | minutes | s per turn |", "| --- | ---: | ---: | ---: |"]
    for title, costs in rows:
        turns, compute_s = (
            mean(getattr(cost, name) for cost in costs) for name in ("turns", "compute_s")
        )
        lines.append(f"| {title} | {turns:.0f} | {compute_s / 60:.1f} | {compute_s / turns:.2f} |")
    return "\n".join(lines) + "\n"
