"""The rows of the tables, and the number of trainings of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flashtalk.errors import InputError


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        title: in the table.
        recipe: of its training.
        seeded: trained once per seed, for a claim with intervals; the report trained each row once.
        as_long_as: recipe whose training time it gets instead of the same number of turns.
    """

    title: str
    recipe: str
    seeded: bool = False
    as_long_as: str = ""


_RANDOM = "table2_random"
TABLES: Mapping[str, tuple[Row, ...]] = {
    "table2": (
        Row("K = 1", "table2_k1", seeded=True),
        Row("K = 1, equal time", "table2_k1", as_long_as=_RANDOM),
        Row("K = 3", "table2_k3"),
        Row("K = 5", "table2_k5"),
        Row("random 1..5", _RANDOM, seeded=True),
    ),
    "table3": (
        Row("true motion", "table3_gt"),
        Row("true, noised", "table3_gt_noise"),
        Row("predicted", "table3_predicted"),
        Row("predicted, noised", _RANDOM, seeded=True),
        Row("predicted, noised, in loss", "table3_loss"),
        Row("predicted, clean for the teacher", "table3_clean_teacher"),
        Row("predicted, noised, tied", "table3_tied"),
    ),
}


@dataclass(frozen=True)
class AblationRun:
    """One training of one row."""

    recipe: str
    seed: int
    as_long_as: str = ""

    @property
    def name(self) -> str:
        """Returns the name of its folders."""
        return f"{self.recipe}-seed{self.seed}" + ("-equal-time" if self.as_long_as else "")

    @property
    def needs(self) -> tuple[AblationRun, ...]:
        """Returns the runs that determine its length: by their time, and by a turn's time."""
        if not self.as_long_as:
            return ()
        return AblationRun(self.as_long_as, self.seed), AblationRun(self.recipe, self.seed)


@dataclass(frozen=True)
class AblationPlan:
    """The rows of some tables and their runs; a row of two tables is trained once.

    Args:
        tables: names in ``TABLES``.
        seeds: trainings of the rows with a claim (K = 1 and random); the others get one.

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

    def rows(self, table: str) -> dict[str, tuple[AblationRun, ...]]:
        """Returns the runs of every row, by the row's title."""
        return {row.title: self._runs(row) for row in TABLES[table]}

    def runs(self) -> Sequence[AblationRun]:
        """Returns all runs: one of every row before the second of any, dependencies first."""
        unique = {
            run: None for table in self.tables for runs in self.rows(table).values() for run in runs
        }
        return sorted(unique, key=lambda run: (run.seed, len(run.needs)))

    def _runs(self, row: Row) -> tuple[AblationRun, ...]:
        count = self.seeds if row.seeded else 1
        return tuple(AblationRun(row.recipe, seed, row.as_long_as) for seed in range(count))
