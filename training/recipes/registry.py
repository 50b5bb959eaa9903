"""The registry of recipes; each is a function that returns a frozen, typed config."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from flashtalk.errors import InputError
from training.core.config import CadenceConfig, Every, ScheduleConfig, TrainerConfig
from training.core.task import Task
from training.core.world import World
from training.places import Places

# Every smoke run: seconds, and evaluated at its end only.
SMOKE = TrainerConfig(
    ScheduleConfig(steps=3), cadence=CadenceConfig(evaluate=Every(), log_every_steps=1)
)


class RecipeConfig(Protocol):
    """A frozen dataclass with a trainer section that builds its task."""

    @property
    def trainer(self) -> TrainerConfig:
        """Returns schedule, optimizer, cadence, gates and targets."""

    @property
    def role(self) -> str:
        """Returns the name of the folder below the weights directory for the export."""

    def task(self, places: Places, world: World) -> Task:
        """Returns the task of this configuration; loads nothing large before ``prepare``."""


@dataclass(frozen=True)
class Recipe:
    """A named configuration, in full size and as a smoke run of seconds.

    ``sharded`` recipes run on any number of ranks, the others in one process.
    """

    name: str
    summary: str
    full: Callable[[], RecipeConfig]
    smoke: Callable[[], RecipeConfig]
    sharded: bool = False


def find_recipe(name: str, recipes: tuple[Recipe, ...]) -> Recipe:
    """Returns the recipe called ``name``; raises InputError that lists the known ones."""
    for recipe in recipes:
        if recipe.name == name:
            return recipe
    raise InputError("recipe", name, f"one of {', '.join(r.name for r in recipes)}")
