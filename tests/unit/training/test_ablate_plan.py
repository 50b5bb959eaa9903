"""Which rows are trained, how often, in which order; folders that refuse other settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from flashtalk.errors import InputError
from training.ablate.place import AblationPlace
from training.ablate.plan import TABLES, AblationPlan, AblationRun
from training.recipes import RECIPES


def test_every_row_is_a_recipe() -> None:
    names = {recipe.name for recipe in RECIPES}
    rows = [row for rows in TABLES.values() for row in rows]
    assert {row.recipe for row in rows} <= names
    assert {row.as_long_as for row in rows if row.as_long_as} <= names


def test_a_row_that_both_tables_show_is_trained_once() -> None:
    runs = AblationPlan(("table2", "table3"), seeds=3).runs()
    assert len(runs) == len(set(runs)) == 3 + 1 + 1 + 1 + 3 + 6
    rows = AblationPlan(("table3",), seeds=3).rows("table3")
    assert rows["predicted, noised"] == tuple(
        AblationRun("table2_random", seed) for seed in range(3)
    )


def test_one_of_every_row_comes_before_the_second_of_any() -> None:
    seeds = [run.seed for run in AblationPlan(("table2", "table3"), seeds=2).runs()]
    assert seeds == sorted(seeds)
    assert seeds.count(0) == 11


def test_a_run_of_equal_time_comes_after_those_it_needs() -> None:
    runs = AblationPlan(("table2",), seeds=1).runs()
    (last,) = [run for run in runs if run.needs]
    assert runs[-1] == last
    assert set(last.needs) <= set(runs[:-1])
    assert last.name != AblationRun(last.recipe, last.seed).name


@pytest.mark.parametrize(
    ("tables", "seeds", "field"), [(("table4",), 3, "table4"), (("table2",), 0, "--seeds")]
)
def test_unknown_tables_and_no_seeds_are_refused(
    tables: tuple[str, ...], seeds: int, field: str
) -> None:
    with pytest.raises(InputError, match=field):
        AblationPlan(tables, seeds)


def weights_of(root: Path) -> Path:
    for role in ("dit", "vae", "teacher"):
        (root / role).mkdir(parents=True)
        (root / role / "who").write_text(role)
    return root


def test_the_teacher_of_stage_1_takes_the_place_of_the_transformer(tmp_path: Path) -> None:
    weights, place = weights_of(tmp_path / "weights"), AblationPlace(tmp_path / "out")
    place.prepare(weights, weights / "teacher", {"steps": 3})
    assert (place.weights / "dit" / "who").read_text() == "teacher"
    assert (place.weights / "vae" / "who").read_text() == "vae"


def test_a_folder_begun_with_other_settings_is_refused(tmp_path: Path) -> None:
    weights, place = weights_of(tmp_path / "weights"), AblationPlace(tmp_path / "out")
    place.prepare(weights, weights / "dit", {"steps": 3})
    (place.weights / "dit" / "who").write_text("kept")
    place.prepare(weights, weights / "dit", {"steps": 3})
    assert (place.weights / "dit" / "who").read_text() == "kept"
    with pytest.raises(InputError, match="different settings"):
        place.prepare(weights, weights / "dit", {"steps": 4})


@pytest.mark.parametrize("missing", ["weights", "weights/teacher"])
def test_weights_that_are_not_there_are_named(missing: str, tmp_path: Path) -> None:
    if missing != "weights":
        (tmp_path / "weights").mkdir()
    with pytest.raises(InputError, match=missing):
        AblationPlace(tmp_path / "out").prepare(
            tmp_path / "weights", tmp_path / "weights" / "teacher", {}
        )
    assert not (tmp_path / "out").exists()
