"""Which rows a table has, and how often each is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flashtalk.errors import InputError

# The report trained each row once. Seeds where two rows are close and one claim hangs on them.
_SEEDED = ("table2_k1", "table2_random")
TABLES: Mapping[str, Mapping[str, str]] = {
    "table2": {
        "table2_k1": "K = 1", "table2_k3": "K = 3", "table2_k5": "K = 5",
        "table2_random": "random 1..5",
    },
    "table3": {
        "table3_gt": "true motion", "table3_gt_noise": "true, noised",
        "table3_predicted": "predicted", "table2_random": "predicted, noised",
        "table3_loss": "predicted, noised, in loss",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training of one row."""

    recipe: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folders."""
        return f"{self.recipe}-seed{self.seed}"


@dataclass(frozen=True)
class AblationPlan:
    """The rows of some tables and their runs; a row that two tables share is trained once.

    Args:
        tables: names in ``TABLES``.
        seeds: trainings of the rows that carry the claim (K = 1 and random); the others get one.

    Raises:
        InputError: an unknown table, or no seed.
    """

    tables: tuple[str, ...]
    seeds: int = 3

    def __post_init__(self) -> None:
        for table in self.tables:
            if table not in TABLES:
                raise InputError("table", table, f"one of {', '.join(TABLES)}")
        if self.seeds < 1:
            raise InputError("--seeds", self.seeds, "at least 1")

    def rows(self, table: str) -> dict[str, tuple[Run, ...]]:
        """The runs behind every row, by the row's title."""
        return {title: self._runs(recipe) for recipe, title in TABLES[table].items()}

    def runs(self) -> Sequence[Run]:
        """All of them, one of every row before the second of any."""
        unique = {run: None for table in self.tables for row in self.rows(table).values()
                  for run in row}  # fmt: skip
        return sorted(unique, key=lambda run: run.seed)

    def _runs(self, recipe: str) -> tuple[Run, ...]:
        count = self.seeds if recipe in _SEEDED else 1
        return tuple(Run(recipe, seed) for seed in range(count))
