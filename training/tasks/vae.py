"""The tiny video VAE: reconstruction of cached clips, latent statistics, re-encode drift.

Legend: B batch, T frames, H W pixels, C channels, F h w latent axes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.fit import fit_linear_bypass
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.vae.weights import load_config
from flashtalk.presets import TINY
from flashtalk.streaming import preset_spec
from training.core.board import Board
from training.core.config import TrainerConfig
from training.core.task import OneLoss, StepContext
from training.core.world import World
from training.data.clips import open_split, video_from_frames
from training.data.synthtalk import SynthTalk, mouth_box
from training.objective.reconstruction import (
    box_weight,
    kl_divergence,
    reconstruction_loss,
    weighted_psnr_db,
)
from training.places import Places
from training.tasks.export import save_model
from training.tasks.pictures import strip
from training.tasks.start import start_from


@dataclass(frozen=True)
class VaeRecipe:
    """Fields of the ``tiny_vae`` recipe.

    ``lengths`` and ``length_weights`` set the lengths of training clips; ``batch_frames`` sets the
    number of clips per batch (at least 2), so that a step costs about the same at every length.
    ``latent_noise`` is the noise on the latents in training, relative to each channel's spread: the
    decoder must tolerate a denoiser's errors. ``reencode`` weights the reconstruction of a
    reconstruction (in batches as long as the motion), against drift over many chunks. ``bf16``
    computes in bfloat16 with float32 weights: 2.2 times as fast on a CPU that supports it.
    ``frozen_encoder`` trains the decoder alone: latents stay compatible with a trained denoiser.
    """

    trainer: TrainerConfig
    model: VAEConfig
    role: str = "vae"
    train_split: str = "train"
    val_split: str = "val"
    lengths: tuple[int, ...] = (33, 17, 5, 1)
    length_weights: tuple[float, ...] = (0.25, 0.35, 0.3, 0.1)
    batch_frames: int = 68
    l1: float = 1.0
    mse: float = 0.0
    gradient: float = 0.5
    mouth_weight: float = 4.0
    kl: float = 1e-6
    latent_noise: float = 0.02
    reencode: float = 0.0
    fit_clips: int = 96
    eval_clips: int = 24
    stats_clips: int = 200
    drift_rounds: int = 20
    bf16: bool = False
    frozen_encoder: bool = False

    def task(self, places: Places, world: World) -> "VaeTask":
        """Returns the task of this recipe."""
        return VaeTask(self, places)


class VaeTask(OneLoss):
    """Trains ``VideoVAE`` on clips of 33, 17, 5 and 1 frames."""

    def __init__(self, recipe: VaeRecipe, places: Places) -> None:
        self.recipe = recipe
        self.spec = preset_spec(TINY)
        self.train = open_split(places.data_dir, recipe.train_split)
        self.val = open_split(places.data_dir, recipe.val_split)
        self.start_dir = places.start_dir and places.start_dir / recipe.role
        torch.manual_seed(recipe.trainer.seed)
        self.device = torch.device(recipe.trainer.device)
        self.model = VideoVAE(recipe.model).to(self.device)
        if recipe.frozen_encoder:
            for part in ("encoder", "conv1", "bypass_encoder"):
                if hasattr(self.model, part):
                    getattr(self.model, part).requires_grad_(False)

    def modules(self) -> Mapping[str, nn.Module]:
        """Returns the autoencoder."""
        return {"vae": self.model}

    def prepare(self, *, resumed: bool) -> None:
        """Loads initial weights, or starts at the principal components of clips.

        Raises:
            InputError: a frozen encoder without initial weights.
        """
        if self.recipe.frozen_encoder:
            if not self.start_dir:
                raise InputError(
                    "frozen_encoder", True, "requires --start-from, which provides the encoder"
                )
            known = load_config(self.start_dir)
            stats = (known.latent_mean, known.latent_std)
            self.model.set_latent_stats(*(torch.tensor(s, dtype=torch.float64) for s in stats))
        if resumed:
            return
        if self.start_dir:
            start_from(self.model, self.start_dir, may_deepen=True)
        elif self.recipe.model.linear_bypass:
            generator = np.random.default_rng(self.recipe.trainer.seed)
            count = self.recipe.fit_clips
            fit_linear_bypass(
                self.model, (self._clip(self.train, generator, 17)[0] for _ in range(count))
            )

    def step(self, context: StepContext) -> Mapping[str, Tensor]:
        """Returns reconstruction and KL of one batch, whose clips have the same length."""
        recipe = self.recipe
        weights = np.asarray(recipe.length_weights) / sum(recipe.length_weights)
        frames = int(context.numpy.choice(recipe.lengths, p=weights))
        count = max(2, min(16, recipe.batch_frames // frames))
        clips = [self._clip(self.train, context.numpy, frames) for _ in range(count)]
        video = torch.cat([clip for clip, _ in clips])
        weight = torch.cat([w for _, w in clips])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.bf16):
            mean, logvar = self.model.encode_moments(video)
            noise = context.draws.normal(mean.shape).to(mean)
            spread = mean.detach().std((0, 2, 3, 4), keepdim=True)
            decoded = self.model.decode_raw(mean + recipe.latent_noise * spread * noise)
            again = None
            if recipe.reencode and frames == self.spec.motion_frames:
                again = self.model.decode_raw(self.model.encode_moments(decoded.clamp(-1, 1)).mu)
        loss = self._reconstruction(decoded, video, weight)
        losses = {"reconstruction": loss}
        divergence = kl_divergence(mean, logvar)
        total = loss + recipe.kl * divergence
        if again is not None:
            losses["reencode"] = self._reconstruction(again, video, weight)
            total = total + recipe.reencode * losses["reencode"]
        return {"loss": total, **losses, "kl": divergence}

    def _reconstruction(self, decoded: Tensor, video: Tensor, weight: Tensor) -> Tensor:
        recipe = self.recipe
        return reconstruction_loss(
            decoded, video, weight, l1=recipe.l1, mse=recipe.mse, gradient=recipe.gradient
        )

    def _clip(
        self, source: SynthTalk, generator: np.random.Generator, frames: int
    ) -> tuple[Tensor, Tensor]:
        """Returns a random clip [1, 3, T, H, W] and its pixel weights [1, 1, T, H, W]."""
        index = int(generator.integers(len(source)))
        start = int(generator.integers(source.config.frames - frames + 1))
        return self._clip_at(source, index, start, frames)

    def _clip_at(
        self, source: SynthTalk, index: int, start: int, frames: int
    ) -> tuple[Tensor, Tensor]:
        clip = source.clip(index, start, frames)
        size_hw = source.config.size_hw
        boxes = torch.from_numpy(mouth_box(clip.tracks, source.identity(index), size_hw))[None]
        weight = box_weight(boxes, *size_hw, inside=self.recipe.mouth_weight, outside=1.0)
        return video_from_frames(clip.frames).to(self.device), weight.to(self.device)

    def evaluate(self, board: Board) -> Mapping[str, float]:
        """Returns PSNR of frames and mouths of held-out clips, and the drift of 20 rounds."""
        generator = np.random.default_rng(1)
        whole, mouth, rows = [], [], []
        for number in range(self.recipe.eval_clips):
            video, weight = self._clip(self.val, generator, self.spec.chunk_frames)
            decoded = self.model.decode(self.model.encode(video))
            whole.append(weighted_psnr_db(decoded, video))
            mouth.append(weighted_psnr_db(decoded, video, (weight > 1.0).float()))
            if number < 4:
                rows += [video[0, :, ::4], decoded[0, :, ::4]]
        board.picture("reconstruction", strip(rows))
        drift = self._drift(board)
        return {
            "psnr_db": float(np.mean(whole)),
            "psnr_min_db": float(np.min(whole)),
            "mouth_psnr_db": float(np.mean(mouth)),
            **drift,
        }

    def _drift(self, board: Board) -> dict[str, float]:
        """Returns PSNR of static video against the original after repeated re-encoding."""
        stills = [self._clip_at(self.val, i, 0, 1)[0] for i in range(min(4, len(self.val)))]
        still = torch.cat(stills)
        motion, new = self.spec.motion_frames, self.spec.latent_frames - self.spec.motion_latents
        video = still.expand(-1, -1, motion, -1, -1)
        latents = self.model.encode(video)
        results, rows = {}, [still[0]]
        for number in range(1, self.recipe.drift_rounds + 1):
            # As in the stream: a chunk that starts with these motion latents and does not change.
            last = latents[:, :, -1:].expand(-1, -1, new, -1, -1)
            decoded = self.model.decode(torch.cat([latents, last], dim=2))
            latents = self.model.encode(decoded[:, :, -motion:].contiguous())
            if number in (1, 5, 10, self.recipe.drift_rounds):
                results[f"drift_{number}_db"] = weighted_psnr_db(decoded[:, :, -1:], still)
                rows.append(decoded[0, :, -1:])
        board.picture("drift", strip([torch.cat(rows, dim=1)]))
        return results

    @torch.no_grad()
    def latent_statistics(self) -> tuple[Tensor, Tensor]:
        """Returns mean and standard deviation of every latent channel over clips, raw units."""
        generator = np.random.default_rng(2)
        sums = torch.zeros(self.recipe.model.z_channels, dtype=torch.float64)
        squares, count = torch.zeros_like(sums), 0
        for _ in range(self.recipe.stats_clips):
            video = self._clip(self.train, generator, self.spec.chunk_frames)[0]
            mean = self.model.encode_moments(video).mu.double().cpu()
            sums += mean.sum((0, 2, 3, 4))
            squares += mean.square().sum((0, 2, 3, 4))
            count += mean[:, 0].numel()
        average = sums / count
        deviation = (squares / count - average.square()).clamp_min(1e-8).sqrt()
        return average, deviation

    def export(self, directory: Path) -> None:
        """Writes the weights and the config with the measured latent statistics.

        With a frozen encoder the statistics are those of its initial weights.
        """
        if not self.recipe.frozen_encoder:
            self.model.set_latent_stats(*self.latent_statistics())
        save_model(self.model, self.model.config.to_dict(), directory)
