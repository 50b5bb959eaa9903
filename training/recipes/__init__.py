"""The recipes by name, in the order in which they depend on each other."""

from training.recipes.ablations import ablation_recipes
from training.recipes.flashtalk_14b import (
    flashtalk_14b_distill,
    flashtalk_14b_sft,
    smoke_14b_distill,
    smoke_14b_sft,
)
from training.recipes.registry import Recipe
from training.recipes.tiny_audio import smoke_audio, tiny_audio
from training.recipes.tiny_distill import smoke_distill, tiny_distill
from training.recipes.tiny_identity import smoke_identity, tiny_identity
from training.recipes.tiny_sft import smoke_sft, tiny_sft
from training.recipes.tiny_vae import smoke_vae, tiny_vae

RECIPES: tuple[Recipe, ...] = (
    Recipe("tiny_vae", "the video VAE", tiny_vae, smoke_vae),
    Recipe("tiny_audio", "the speech encoder (Wav2Vec2 role)", tiny_audio, smoke_audio),
    Recipe("tiny_identity", "the image encoder (CLIP role)", tiny_identity, smoke_identity),
    Recipe("tiny_sft", "Stage 1: the DiT and the text encoder", tiny_sft, smoke_sft, sharded=True),
    Recipe(
        "tiny_distill",
        "Stage 2: a student of four steps",
        tiny_distill,
        smoke_distill,
        sharded=True,
    ),
    *ablation_recipes(),
    Recipe(
        "flashtalk_14b_sft",
        "Stage 1 of the published model, on many devices",
        flashtalk_14b_sft,
        smoke_14b_sft,
        sharded=True,
    ),
    Recipe(
        "flashtalk_14b_distill",
        "Stage 2 of the published model, on many devices",
        flashtalk_14b_distill,
        smoke_14b_distill,
        sharded=True,
    ),
)
