"""The tiny speech encoder: frame classification of phonemes in streaming windows.

Legend: B batch, S samples of a window, T frames of a window (200), L layers, D width, P phoneme
classes, K mouth tracks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.models.wav2vec2.loudness import unit_variance
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.presets import TINY
from flashtalk.streaming import preset_spec
from training.core.board import Board
from training.core.config import TrainerConfig
from training.core.task import OneLoss, StepContext
from training.core.world import World
from training.data.clips import open_split
from training.data.speech import Augment, augmented, labels_ending_at, window_ending_at
from training.data.synthtalk import PHONEME_CLASSES, SynthTalk
from training.data.synthtalk.phonemes import SILENCE
from training.data.synthtalk.tracks import MOUTH_COLUMNS
from training.data.synthtalk.visemes import VISEME_OF, VISEMES, mouth_shape
from training.places import Places
from training.tasks.export import save_model
from training.tasks.start import start_from

MOUTH_TRACKS = 5
VISEME_INDEX = {name: index for index, name in enumerate(VISEMES)}
VISEME_OF_CLASS = np.array([VISEME_INDEX[VISEME_OF[name]] for name in PHONEME_CLASSES])
EDGE_FRAMES = 5


@dataclass(frozen=True)
class AudioRecipe:
    """Fields of the ``tiny_audio`` recipe."""

    trainer: TrainerConfig
    model: AudioConfig
    augment: Augment
    role: str = "wav2vec2"
    train_split: str = "train"
    val_split: str = "val"
    batch: int = 8
    mouth_loss: float = 5.0
    padding_weight: float = 0.1
    shortest_end_frames: int = 25
    eval_windows: int = 48

    def task(self, places: Places, world: World) -> "AudioTask":
        """Returns the task of this recipe."""
        return AudioTask(self, places)


@dataclass(frozen=True)
class SpeechBatch:
    """Normalised windows [B, S], phonemes [B, T], mouth tracks [B, T, K], frame weights [B, T]."""

    pcm_BS: Tensor
    phonemes_BT: Tensor
    mouth_BTK: Tensor
    weight_BT: Tensor


class Heads(nn.Module):
    """Linear read-outs of all layers together, dropped after training."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.phonemes = nn.Linear(layers * width, len(PHONEME_CLASSES))
        self.mouth = nn.Linear(layers * width, MOUTH_TRACKS)

    def forward(self, features_BTLD: Tensor) -> tuple[Tensor, Tensor]:
        """Returns logits [B, T, P] and mouth tracks [B, T, K]."""
        flat = self.norm(features_BTLD).flatten(2)
        return self.phonemes(flat), self.mouth(flat)


class AudioTask(OneLoss):
    """Trains ``Wav2Vec2Features`` on 8 s windows that end at any frame."""

    def __init__(self, recipe: AudioRecipe, places: Places) -> None:
        self.recipe = recipe
        self.spec = preset_spec(TINY)
        self.train = open_split(places.data_dir, recipe.train_split)
        self.val = open_split(places.data_dir, recipe.val_split)
        self.start_dir = places.start_dir and places.start_dir / recipe.role
        self.frames = self.spec.window_s * self.spec.fps
        self.device = torch.device(recipe.trainer.device)
        torch.manual_seed(recipe.trainer.seed)
        self.model = Wav2Vec2Features(recipe.model).to(self.device)
        self.heads = Heads(recipe.model.num_hidden_layers, recipe.model.hidden_size)
        self.heads.to(self.device)

    def modules(self) -> Mapping[str, nn.Module]:
        """Returns the encoder and its read-outs."""
        return {"audio": self.model, "heads": self.heads}

    def prepare(self, *, resumed: bool) -> None:
        """Loads initial weights if there are any; windows are cut during training."""
        if self.start_dir and not resumed:
            start_from(self.model, self.start_dir)

    def step(self, context: StepContext) -> Mapping[str, Tensor]:
        """Returns the phoneme's cross-entropy and the mouth's squared error at frame centres."""
        batch = self._batch(self.train, context.numpy, self.recipe.batch, self.recipe.augment)
        logits_BTP, mouth_BTK = self._read(batch.pcm_BS)
        weight_BT = batch.weight_BT / batch.weight_BT.sum()
        entropy_BT = F.cross_entropy(
            logits_BTP.transpose(1, 2), batch.phonemes_BT, reduction="none"
        )
        entropy = (entropy_BT * weight_BT).sum()
        mouth = ((mouth_BTK - batch.mouth_BTK).square().mean(2) * weight_BT).sum()
        return {
            "loss": entropy + self.recipe.mouth_loss * mouth,
            "phoneme": entropy,
            "mouth": mouth,
        }

    def _read(self, pcm_BS: Tensor) -> tuple[Tensor, Tensor]:
        logits, mouth = self.heads(self.model(pcm_BS, self.frames))
        return logits, mouth

    def _batch(
        self, source: SynthTalk, rng: np.random.Generator, size: int, augment: Augment
    ) -> SpeechBatch:
        rows = [self._window(source, rng, augment) for _ in range(size)]
        pcm, phonemes, mouth, weight = (
            torch.from_numpy(np.stack(column)).to(self.device) for column in zip(*rows, strict=True)
        )
        return SpeechBatch(pcm, phonemes.long(), mouth.float(), weight.float())

    def _window(
        self, source: SynthTalk, rng: np.random.Generator, augment: Augment
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        index = int(rng.integers(len(source)))
        total = source.config.frames
        end = int(rng.integers(min(self.recipe.shortest_end_frames, total), total + 1))
        whole = source.clip(index, 0, total)
        window, silenced = augmented(
            window_ending_at(whole.pcm_16k, end, self.spec), rng, augment, self.spec.pcm_hz
        )
        phonemes = labels_ending_at(whole.phoneme_ids, end, self.frames, np.array(SILENCE))
        mouth = labels_ending_at(
            whole.tracks[:, MOUTH_COLUMNS], end, self.frames, mouth_shape(SILENCE)
        )
        if silenced:
            phonemes = np.full_like(phonemes, SILENCE)
            mouth = np.tile(mouth_shape(SILENCE), (self.frames, 1))
        heard_from = int(np.argmax(window != 0)) // self.spec.samples_per_frame
        weight = np.ones(self.frames, dtype=np.float32)
        weight[:heard_from] = self.recipe.padding_weight
        # The removed sound cannot be heard: its only label is silence.
        phonemes[:heard_from] = SILENCE
        mouth[:heard_from] = mouth_shape(SILENCE)
        # The stream also normalises the window to -23 LUFS first: a gain, which the normalisation
        # to unit variance removes, so the slow measurement is skipped here.
        return unit_variance(window), phonemes, mouth, weight

    def evaluate(self, board: Board) -> Mapping[str, float]:
        """Returns accuracy on held-out windows and on their last frames; opening correlation."""
        rng = np.random.default_rng(5)
        clean = Augment(noise=0.0, cut=0.0, silence=0.0, tilt=0.0)
        right, heard, edges, opening, truth = [], [], [], [], []
        phoneme_right = []
        for _ in range(0, self.recipe.eval_windows, self.recipe.batch):
            batch = self._batch(self.val, rng, self.recipe.batch, clean)
            logits, mouth = self._read(batch.pcm_BS)
            guess, label = logits.argmax(2).cpu().numpy(), batch.phonemes_BT.cpu().numpy()
            inside = batch.weight_BT.cpu().numpy() == 1
            same = VISEME_OF_CLASS[guess] == VISEME_OF_CLASS[label]
            right.append(same[inside])
            edges.append(same[:, -EDGE_FRAMES:].ravel())
            heard.append((label != SILENCE)[inside])
            phoneme_right.append((guess == label)[inside])
            opening.append(mouth[..., 0].cpu().numpy()[inside])
            truth.append(batch.mouth_BTK[..., 0].cpu().numpy()[inside])
        correct, spoken = np.concatenate(right), np.concatenate(heard)
        correlation = np.corrcoef(np.concatenate(opening), np.concatenate(truth))[0, 1]
        return {
            "viseme_accuracy": float(correct.mean()),
            "viseme_accuracy_in_speech": float(correct[spoken].mean()) if spoken.any() else 0.0,
            "viseme_accuracy_last_frames": float(np.concatenate(edges).mean()),
            "phoneme_accuracy": float(np.concatenate(phoneme_right).mean()),
            "openness_correlation": float(correlation),
        }

    def export(self, directory: Path) -> None:
        """Writes the encoder without its heads."""
        save_model(self.model, self.recipe.model.to_dict(), directory)
