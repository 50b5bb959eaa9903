"""Trains the measuring probes on renders: ``python -m training.evaluate.train_probe --out DIR``.

Minutes on two CPU cores.  Writes ``probes.safetensors`` and a card with the held-out accuracy.

Legend: B batch, K outputs, N frames.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from flashtalk.terminal import OneLineParser, guarded
from training.data.synthtalk.identity import IDENTITY_COLUMNS, PERSON_COLUMNS
from training.data.synthtalk.renderer import RENDERER_VERSION
from training.evaluate.canvas import MOUTH_CROP_PX, mouth_crops
from training.evaluate.lips import pearson
from training.evaluate.probe_data import ProbeFrames, jittered, render_pool, worn
from training.evaluate.probes import (
    DEFAULT_PROBES,
    HEAD,
    MOUTH_OUTPUTS,
    POSE_OUTPUTS,
    Probes,
)
from training.evaluate.regressor import Regressor, RegressorConfig

# Identity seeds far from every split of the data set, so that test faces are new to the probes.
_TRAIN_SEED, _HELD_OUT_SEED = 7_000_000_000, 8_000_000_000


@dataclass(frozen=True)
class ProbeRecipe:
    """Number of renders and steps; the defaults are those of the shipped probes."""

    identities: int = 3000
    frames_each: int = 12
    held_out_identities: int = 200
    steps: int = 2000
    batch: int = 128
    learning_rate: float = 2e-3
    seed: int = 0

    @classmethod
    def smoke(cls) -> "ProbeRecipe":
        """Returns a setting of seconds, which tests the code and not the quality."""
        return cls(identities=8, frames_each=4, held_out_identities=4, steps=3, batch=8)


def person_names() -> tuple[str, ...]:
    """Returns the identity columns of the person (the background is measured by PSNR)."""
    return tuple(IDENTITY_COLUMNS[:PERSON_COLUMNS])


def train_probes(recipe: ProbeRecipe) -> Probes:
    """Trains all three probes, one after the other on the same rendered frames."""
    torch.manual_seed(recipe.seed)
    pool = render_pool(
        range(_TRAIN_SEED, _TRAIN_SEED + recipe.identities), recipe.frames_each, title="render"
    )
    whole = RegressorConfig(POSE_OUTPUTS, unshuffle=2, widths=(32, 64, 128))
    pose = _fit(whole, pool, pool.column(POSE_OUTPUTS), recipe, _whole_frame, "pose")
    lips = RegressorConfig(MOUTH_OUTPUTS, side_px=MOUTH_CROP_PX, widths=(24, 48, 96))
    mouth = _fit(lips, pool, pool.column(MOUTH_OUTPUTS), recipe, _mouth_crop, "mouth")
    who = RegressorConfig(person_names(), unshuffle=2, widths=(32, 64, 128))
    person = _fit(who, pool, pool.person_ND, recipe, _whole_frame, "person")
    return Probes(pose, mouth, person)


Prepare = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def _whole_frame(canvas_BCSS: Tensor, head_B4: Tensor, generator: torch.Generator) -> Tensor:
    return canvas_BCSS


def _mouth_crop(canvas_BCSS: Tensor, head_B4: Tensor, generator: torch.Generator) -> Tensor:
    return mouth_crops(canvas_BCSS, jittered(head_B4, generator))


def _fit(
    config: RegressorConfig,
    pool: ProbeFrames,
    target_NK: Tensor,
    recipe: ProbeRecipe,
    prepare: Prepare,
    title: str,
) -> Regressor:
    """Minimises mean squared error in units of each target's deviation; one-cycle schedule."""
    net = Regressor(config)
    net.set_population(target_NK.mean(0), target_NK.std(0))
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.steps + 1, pct_start=0.1
    )
    generator = torch.Generator().manual_seed(recipe.seed)
    head_N4 = pool.column(HEAD)
    for _ in track(range(recipe.steps), f"train {title}"):
        pick_B = torch.randint(len(target_NK), (recipe.batch,), generator=generator)
        canvas_BCSS = worn(pool.frames_NCSS[pick_B].float() / 127.5 - 1.0, generator)
        predicted_BK = net.standardised(prepare(canvas_BCSS, head_N4[pick_B], generator))
        wanted_BK = (target_NK[pick_B] - net.mean_K) / net.std_K
        loss = (predicted_BK - wanted_BK).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return net.eval().requires_grad_(False)


def held_out_accuracy(probes: Probes, recipe: ProbeRecipe) -> dict[str, float]:
    """Returns Pearson r of every measured number on identities outside of the training data.

    The mouth is measured in the crop at the *predicted* pose, as in use.
    """
    seeds = range(_HELD_OUT_SEED, _HELD_OUT_SEED + recipe.held_out_identities)
    pool = render_pool(seeds, 16, title="render held-out")
    video = pool.frames_NCSS.permute(0, 2, 3, 1).numpy()
    measured = probes.measure(video)
    names = (*POSE_OUTPUTS, *MOUTH_OUTPUTS)
    truth_NK = pool.column(names).numpy()
    scores = {
        name: pearson(measured.tracks[name], truth_NK[:, column])
        for column, name in enumerate(names)
    }
    for column, name in enumerate(probes.person.config.outputs):
        scores[name] = pearson(measured.identity_TD[:, column], pool.person_ND[:, column].numpy())
    return scores


def probe_card(
    recipe: ProbeRecipe, scores: Mapping[str, float], minutes: float, megabytes: float
) -> str:
    """Returns the model card: the probes, their training, and their accuracy."""
    rows = "\n".join(f"| {name} | {r:.3f} |" for name, r in scores.items())
    return f"""# Measuring probes

Three small convolutional regressors that read mouth, pose and identity from the pixels of
SynthTalk video. They measure generated video in `python -m training.evaluate` (docs/evaluation.md)
and are no part of generating it. They know the procedural faces only.

- made by: `python -m training.evaluate.train_probe`, {minutes:.0f} minutes on 2 CPU cores
- data: {recipe.identities} identities x {recipe.frames_each} unrelated frames rendered at 64x64
  (renderer version {RENDERER_VERSION}), half of them blurred, noisy and recoloured; no identity
  of any data set split
- training: {recipe.steps} steps of {recipe.batch} frames for each probe, seed {recipe.seed}
- size: {megabytes:.1f} MB, half precision; other frame sizes are resized to 64x64

Pearson r on {recipe.held_out_identities} held-out identities, unrelated frames, the mouth read from
the crop that the predicted pose cuts (identity rows: how far a face shows that number at all):

| output | r |
| --- | ---: |
{rows}
"""


def main() -> int:
    """Runs the probe training; returns the exit code."""
    parser = OneLineParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_PROBES.parent, help="output folder")
    parser.add_argument("--smoke", action="store_true", help="smoke test with a few steps")
    parser.add_argument("--steps", type=int, help="number of training steps per probe")
    parser.add_argument("--identities", type=int, help="number of identities to render")
    arguments = parser.parse_args()
    recipe = ProbeRecipe.smoke() if arguments.smoke else ProbeRecipe()
    asked = {"steps": arguments.steps, "identities": arguments.identities}
    recipe = ProbeRecipe(**{**vars(recipe), **{k: v for k, v in asked.items() if v is not None}})
    start_s = time.monotonic()
    probes = train_probes(recipe)
    minutes = (time.monotonic() - start_s) / 60
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "probes.safetensors"
    probes.save(path)
    scores = held_out_accuracy(Probes.load(path), recipe)
    megabytes = path.stat().st_size / 1e6
    (arguments.out / "README.md").write_text(probe_card(recipe, scores, minutes, megabytes))
    console = Console()
    for name, r in scores.items():
        console.print(f"{name:18s} r {r:.3f}")
    identity = np.mean([scores[name] for name in person_names()])
    console.print(
        f"openness r {scores['openness']:.3f}, identity mean r {identity:.3f}, "
        f"{megabytes:.1f} MB, {minutes:.1f} min -> {path}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(guarded("training.evaluate.train_probe", main))
