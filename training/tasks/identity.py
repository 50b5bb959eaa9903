"""The tiny image encoder (CLIP role): the looks of a person and a scene, independent of the pose.

Legend: B batch, H W pixels, N tokens, D width, I identity columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from flashtalk.arrays import FloatArray, Frames
from flashtalk.models.clip.config import ClipConfig
from flashtalk.models.clip.model import ClipVision
from training.core.board import Board
from training.core.config import TrainerConfig
from training.core.task import OneLoss, StepContext
from training.core.world import World
from training.data.clips import open_split
from training.data.identities import IdentityFrames, build_identity_frames
from training.data.synthtalk import IDENTITY_COLUMNS
from training.data.synthtalk.identity import PERSON_COLUMNS
from training.places import Places
from training.tasks.export import save_model
from training.tasks.start import start_from


@dataclass(frozen=True)
class IdentityRecipe:
    """Fields of the ``tiny_identity`` recipe."""

    trainer: TrainerConfig
    model: ClipConfig
    role: str = "clip"
    train_split: str = "train"
    val_split: str = "val"
    batch: int = 64
    people: int = 4_000
    poses: int = 4
    place_weight: float = 0.3
    noise: float = 0.03
    eval_frames: int = 256

    def task(self, places: Places, world: World) -> "IdentityTask":
        """Returns the task of this recipe."""
        return IdentityTask(self, places)


class IdentityHead(nn.Module):
    """Predicts the identity vector from class token and mean of the others; training only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * width)
        self.linear = nn.Linear(2 * width, len(IDENTITY_COLUMNS))

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """Returns [B, I] in standardised units."""
        pooled = torch.cat([tokens_BND[:, 0], tokens_BND[:, 1:].mean(1)], dim=1)
        standardised: Tensor = self.linear(self.norm(pooled))
        return standardised


class IdentityTask(OneLoss):
    """Trains ``ClipVision`` to regress identity vectors from frames of any pose."""

    def __init__(self, recipe: IdentityRecipe, places: Places) -> None:
        self.recipe = recipe
        self.places = places
        self.train = open_split(places.data_dir, recipe.train_split)
        self.val = open_split(places.data_dir, recipe.val_split)
        self.device = torch.device(recipe.trainer.device)
        torch.manual_seed(recipe.trainer.seed)
        self.model = ClipVision(recipe.model).to(self.device)
        self.head = IdentityHead(recipe.model.width).to(self.device)
        self.people: IdentityFrames | None = None
        self.mean_I, self.std_I = _standards(np.asarray(self.train.arrays["identity"]))

    def modules(self) -> Mapping[str, nn.Module]:
        """Returns the encoder and its read-out."""
        return {"clip": self.model, "head": self.head}

    def prepare(self, *, resumed: bool) -> None:
        """Renders the people, unless they are cached; loads initial weights if there are any."""
        recipe = self.recipe
        if self.places.start_dir and not resumed:
            start_from(self.model, self.places.start_dir / recipe.role)
        self.people = build_identity_frames(
            self.train, self.places.cache_dir, count=recipe.people, poses=recipe.poses
        )
        self.mean_I, self.std_I = _standards(self.people.identities)

    def step(self, context: StepContext) -> Mapping[str, Tensor]:
        """Returns the squared error of the standardised identity; scenes count less."""
        people = self.people
        assert people is not None
        rng = context.numpy
        who = rng.integers(len(people), size=self.recipe.batch)
        pose = rng.integers(self.recipe.poses, size=self.recipe.batch)
        image = self._images(people.frames[who, pose])
        noise = context.draws.normal(image.shape).to(image)
        guess = self.head(self.model(image + self.recipe.noise * noise))
        squared_I = (guess - self._standardised(people.identities[who])).square().mean(0)
        person = squared_I[:PERSON_COLUMNS].mean()
        place = squared_I[PERSON_COLUMNS:].mean()
        return {"loss": person + self.recipe.place_weight * place, "person": person, "place": place}

    def _images(self, frames_BHWC: Frames) -> Tensor:
        image = torch.from_numpy(frames_BHWC).permute(0, 3, 1, 2).float()
        return image.div(127.5).sub(1.0).to(self.device)

    def _standardised(self, identities_BI: FloatArray) -> Tensor:
        return torch.from_numpy((identities_BI - self.mean_I) / self.std_I).to(self.device)

    def evaluate(self, board: Board) -> Mapping[str, float]:
        """Returns the explained variance on held-out people, and the similarity of poses.

        ``same_over_other`` is the distance of class tokens between two poses of one person divided
        by the distance between two people: 0 is perfect, 1 means no distinction.
        """
        rng = np.random.default_rng(7)
        total = self.val.config.frames
        who = np.arange(self.recipe.eval_frames) % len(self.val)
        tokens, errors = [], []
        for _ in range(2):
            at = rng.integers(total, size=len(who))
            frames = np.stack(
                [self.val.clip(int(i), int(t), 1).frames[0] for i, t in zip(who, at, strict=True)]
            )
            encoded = self.model(self._images(frames))
            tokens.append(encoded[:, 0].float().cpu())
            identities = np.stack([self.val.identity(int(i)) for i in who])
            errors.append((self.head(encoded) - self._standardised(identities)).square().mean(0))
        error_I = torch.stack(errors).mean(0).cpu()
        same = (tokens[0] - tokens[1]).norm(dim=1).mean()
        other = (tokens[0] - tokens[1].roll(1, 0)).norm(dim=1).mean()
        return {
            "person_r2": 1.0 - float(error_I[:PERSON_COLUMNS].mean()),
            "place_r2": 1.0 - float(error_I[PERSON_COLUMNS:].mean()),
            "same_over_other": float(same / other.clamp_min(1e-9)),
        }

    def export(self, directory: Path) -> None:
        """Writes the encoder without its head."""
        save_model(self.model, self.recipe.model.to_dict(), directory)


def _standards(identities_NI: FloatArray) -> tuple[FloatArray, FloatArray]:
    mean = identities_NI.mean(0)
    return mean, np.maximum(identities_NI.std(0), 1e-3)
