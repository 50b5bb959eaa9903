"""The recipes by name."""

from training.recipes.registry import Recipe
from training.recipes.tiny_vae import smoke_vae, tiny_vae

RECIPES: tuple[Recipe, ...] = (
    Recipe("tiny_vae", "the video VAE of the tiny preset", tiny_vae, smoke_vae),
)
