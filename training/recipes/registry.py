"""The recipes by name; each is a function that returns a frozen, typed config."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from flashtalk.errors import InputError
from training.core.config import TrainerConfig
from training.core.task import Task
from training.core.world import World
from training.places import Places


class RecipeConfig(Protocol):
    """A frozen dataclass with a trainer section, that builds its task."""

    @property
    def trainer(self) -> TrainerConfig:
        """Length, optimizer, schedule, checkpoints."""

    @property
    def role(self) -> str:
        """Name of the folder below the weights directory that ``export`` fills."""

    def task(self, places: Places, world: World) -> Task:
        """The task of this configuration; loads nothing heavy before ``prepare``."""


@dataclass(frozen=True)
class Recipe:
    """A named configuration, in full size and as a smoke run of seconds.

    ``sharded`` ones run on any number of ranks, the others in one process.
    """

    name: str
    summary: str
    full: Callable[[], RecipeConfig]
    smoke: Callable[[], RecipeConfig]
    sharded: bool = False


def find_recipe(name: str, recipes: tuple[Recipe, ...]) -> Recipe:
    """The recipe called ``name``; raises InputError that lists the known ones."""
    for recipe in recipes:
        if recipe.name == name:
            return recipe
    raise InputError("recipe", name, f"one of {', '.join(r.name for r in recipes)}")
