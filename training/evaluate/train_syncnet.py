"""Trains the small SyncNet: ``python -m training.evaluate.train_syncnet --data .cache/synthtalk``.

Twenty minutes on one CPU core.  Writes ``syncnet.safetensors`` and a card with the held-out scores.
An interrupted training is resumed from the last checkpoint by the same command.

Legend: U utterances of a step, R a stretch of windows of each, B = U R windows, D embedding.
"""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from flashtalk.errors import FlashTalkError
from flashtalk.terminal import OneLineParser, guarded, note
from training.data.clips import open_split
from training.evaluate.probes import Probes
from training.evaluate.syncnet.held_out_scores import HeldOutScores, held_out_scores, syncnet_card
from training.evaluate.syncnet.mfcc import CEPSTRA, FRAMES_PER_PICTURE, WINDOW_FRAMES
from training.evaluate.syncnet.small import (
    DEFAULT_SYNCNET,
    PICTURES,
    SmallSyncNet,
    SmallSyncNetConfig,
)
from training.evaluate.syncnet.speech_and_mouths import Mouths, gather


@dataclass(frozen=True)
class SyncRecipe:
    """Number of steps and amount of data; the defaults are those of the shipped network."""

    utterances: int = 1200
    steps: int = 1500
    utterances_each: int = 16
    stretch: int = 40
    learning_rate: float = 2e-3
    seed: int = 0
    checkpoint_every: int = 100

    @classmethod
    def smoke(cls) -> "SyncRecipe":
        """Returns a setting of seconds, which tests the code and not the quality."""
        return cls(utterances=2, steps=2, utterances_each=2, stretch=6, checkpoint_every=1)


class SyncNetTrainer:
    """Contrastive training (InfoNCE both ways): among all windows of a step, a stretch of each of
    several utterances, pictures must match their own speech and speech its pictures.

    Neighbouring windows of the same utterance are the hard negatives, from which the network
    learns time; from those of other utterances it learns to reject wrong speech.
    """

    def __init__(self, recipe: SyncRecipe, mouths: Mouths) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.mouths, self.step = recipe, mouths, 0
        self.net = SmallSyncNet(SmallSyncNetConfig())
        flat = mouths.cepstra_UMC.reshape(-1, CEPSTRA)
        self.net.mean_C.copy_(torch.from_numpy(flat.mean(0)))
        self.net.std_C.copy_(torch.from_numpy(flat.std(0)).clamp(min=1e-3))
        self.log_scale = nn.Parameter(torch.tensor(2.5))
        parameters = [*self.net.parameters(), self.log_scale]
        self.optimiser = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.02)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, recipe.learning_rate, total_steps=recipe.steps + 1, pct_start=0.1
        )

    def save(self, path: Path) -> None:
        """Saves the state for the next step; random draws depend on the step number alone."""
        part = path.with_suffix(".part")
        torch.save(
            {
                "net": self.net.state_dict(),
                "scale": self.log_scale.detach(),
                "optimiser": self.optimiser.state_dict(),
                "schedule": self.schedule.state_dict(),
                "step": self.step,
            },
            part,
        )
        part.rename(path)

    def resume(self, path: Path) -> None:
        """Restores ``save``'s file, if it exists."""
        if not path.exists():
            return
        kept = torch.load(path, weights_only=True)
        self.net.load_state_dict(kept["net"])
        with torch.no_grad():
            self.log_scale.copy_(kept["scale"])
        self.optimiser.load_state_dict(kept["optimiser"])
        self.schedule.load_state_dict(kept["schedule"])
        self.step = int(kept["step"])

    def update(self) -> float:
        """Makes one step; returns its loss."""
        rng = np.random.default_rng([self.recipe.seed, self.step])
        pictures_BNCSS, speech_BCW = self._draw(rng)
        pictures_BD = self.net.embed_pictures(pictures_BNCSS)
        speech_BD = self.net.embed_speech(speech_BCW)
        logits_BB = self.log_scale.exp() * pictures_BD @ speech_BD.T
        own_B = torch.arange(len(logits_BB))
        loss = (F.cross_entropy(logits_BB, own_B) + F.cross_entropy(logits_BB.T, own_B)) / 2
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        with torch.no_grad():
            self.log_scale.clamp_(max=4.0)
        self.step += 1
        return float(loss.detach())

    def _draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        stretch = self.recipe.stretch
        amount, frames = self.mouths.crops_UTCSS.shape[:2]
        pictures, speech = [], []
        chosen = rng.choice(amount, min(self.recipe.utterances_each, amount), replace=False)
        for index in chosen:
            first = int(rng.integers(frames - stretch - PICTURES + 2))
            span = self.mouths.crops_UTCSS[index, first : first + stretch + PICTURES - 1]
            crops_TCSS = _worn(torch.from_numpy(np.array(span)).float() / 127.5 - 1.0, rng)
            pictures.append(crops_TCSS.unfold(0, PICTURES, 1).permute(0, 4, 1, 2, 3))
            start = FRAMES_PER_PICTURE * first
            stop = start + FRAMES_PER_PICTURE * (stretch - 1) + WINDOW_FRAMES
            cepstra_MC = torch.from_numpy(self.mouths.cepstra_UMC[index, start:stop].copy())
            # The first number is the log energy: this simulates the distance of a voice.
            cepstra_MC[:, 0] += float(rng.uniform(-1.5, 1.5))
            speech.append(cepstra_MC.unfold(0, WINDOW_FRAMES, FRAMES_PER_PICTURE))
        return torch.cat(pictures), torch.cat(speech)


def _worn(crops_TCSS: Tensor, rng: np.random.Generator) -> Tensor:
    """Degrades half of the stretches like a codec: one blur, gain, cast and grain for all.

    The network must also score generated video, which is softer than a render.
    """
    if rng.random() < 0.5:
        return crops_TCSS
    sigma = rng.uniform(0.3, 1.3)
    taps_K = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / (2 * sigma**2))
    taps_K = taps_K / taps_K.sum()
    side = crops_TCSS.shape[-1]
    flat = F.pad(crops_TCSS.reshape(-1, 1, side, side), (2, 2, 2, 2), mode="replicate")
    flat = F.conv2d(F.conv2d(flat, taps_K.view(1, 1, 5, 1)), taps_K.view(1, 1, 1, 5))
    cast_C11 = torch.from_numpy(rng.uniform(-0.05, 0.05, (3, 1, 1))).float()
    grain = torch.from_numpy(rng.standard_normal(crops_TCSS.shape, np.float32))
    soft_TCSS = flat.reshape(crops_TCSS.shape) * float(rng.uniform(0.94, 1.06)) + cast_C11
    return soft_TCSS + float(rng.uniform(0, 0.04)) * grain


def train(recipe: SyncRecipe, mouths: Mouths, work: Path, console: Console) -> SmallSyncNet:
    """Trains to the end, from the checkpoint in ``work`` if there is one."""
    work.mkdir(parents=True, exist_ok=True)
    trainer = SyncNetTrainer(recipe, mouths)
    trainer.resume(work / "checkpoint.pt")
    losses: list[float] = []
    for _ in track(range(trainer.step, recipe.steps), "train", console=console):
        losses.append(trainer.update())
        if trainer.step % recipe.checkpoint_every == 0:
            trainer.save(work / "checkpoint.pt")
            recent = float(np.mean(losses[-recipe.checkpoint_every :]))
            console.print(f"step {trainer.step} loss {recent:.3f}")
    return trainer.net.eval().requires_grad_(False)


def main(arguments: list[str] | None = None) -> int:
    """Runs the SyncNet training; returns the exit code."""
    parser = OneLineParser(description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(".cache/synthtalk"),
        help="folder with the rendered splits train and test",
    )
    parser.add_argument("--out", type=Path, default=DEFAULT_SYNCNET.parent, help="output folder")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(".cache/syncnet"),
        help="work folder for crops and the checkpoint",
    )
    parser.add_argument("--smoke", action="store_true", help="smoke test with a few steps")
    parser.add_argument("--steps", type=int, help="number of training steps")
    given = parser.parse_args(arguments)
    recipe = SyncRecipe.smoke() if given.smoke else SyncRecipe()
    if given.steps is not None:
        recipe = replace(recipe, steps=given.steps)
    console = Console()
    try:
        _train_and_judge(recipe, given.data, given.work, given.out, console)
    except FlashTalkError as error:
        note(f"error: {error}")
        return 2
    return 0


def _train_and_judge(
    recipe: SyncRecipe, data: Path, work: Path, out: Path, console: Console
) -> None:
    probes = Probes.load()
    mouths = gather(open_split(data, "train"), probes, work, recipe.utterances)
    start_s = time.monotonic()
    net = train(recipe, mouths, work, console)
    minutes = (time.monotonic() - start_s) / 60
    out.mkdir(parents=True, exist_ok=True)
    path = out / "syncnet.safetensors"
    net.save(path)
    judged: HeldOutScores = held_out_scores(
        SmallSyncNet.load(path), open_split(data, "test"), probes
    )
    megabytes = path.stat().st_size / 1e6
    facts = {
        "utterances": len(mouths.crops_UTCSS),
        "steps": recipe.steps,
        "seed": recipe.seed,
        "windows": recipe.utterances_each * recipe.stretch,
        "minutes": round(minutes),
        "megabytes": round(megabytes, 2),
    }
    (out / "README.md").write_text(syncnet_card(facts, judged))
    console.print(f"{judged} -> {path}")


if __name__ == "__main__":
    sys.exit(guarded("training.train_syncnet", main))
