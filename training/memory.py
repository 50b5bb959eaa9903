"""``python -m training.memory``: the memory of a training of the 14B model on each device.

Needs no weights and no device: everything is counted from the architecture. The recipes print the
same table before they allocate memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import torch
from rich.console import Console
from torch import nn

from flashtalk.engine.pipeline import Architecture
from flashtalk.errors import InputError
from flashtalk.models.clip.model import ClipVision
from flashtalk.models.dit.model import DiT
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.presets import PUBLISHED
from flashtalk.streaming import parse_size_hw, preset_spec
from flashtalk.terminal import OneLineParser, guarded, note
from training.core.memory_plan import ActivationSize, MemoryPlan, NetworkSize, plan_memory

_HALF = 2


def plan_of_14b(
    stage: int,
    *,
    ranks: int,
    batch: int,
    size_hw: tuple[int, int],
    checkpointing: bool,
    device_gb: float,
) -> MemoryPlan:
    """Returns the plan of Stage 1 or 2.

    Args:
        stage: 1 trains the transformer; 2 trains student and fake score beside the real score.
        ranks: number of devices; batch: samples of each; size_hw: of the video.
        checkpointing: blocks are recomputed in the backward pass.
        device_gb: memory of a device in 10^9 bytes.
    """
    sizes = Architecture.flashtalk_14b()
    spec = sizes.spec(preset_spec(PUBLISHED))
    encoders: list[Callable[[], nn.Module]] = [
        lambda: VideoVAE(sizes.vae),
        lambda: ClipVision(sizes.clip),
        lambda: TextEncoder(sizes.text),
        lambda: Wav2Vec2Features(sizes.audio),
    ]
    with torch.device("meta"):
        dit = DiT(sizes.dit)
        frozen = sum(sum(p.numel() for p in make().parameters()) for make in encoders)
    networks = [NetworkSize.of("student" if stage == 2 else "transformer", dit, trained=True)]
    if stage == 2:
        networks.append(NetworkSize.of("fake score", dit, trained=True))
        networks.append(NetworkSize.of("real score", dit, trained=False))
    height, width = spec.latent_size(*size_hw)
    config = sizes.dit
    activations = ActivationSize(
        tokens=spec.latent_frames * height * width // spec.patch_hw**2,
        batch=batch,
        dim=config.dim,
        ffn_dim=config.ffn_dim,
        layers=config.num_layers,
        checkpointing=checkpointing,
    )
    return plan_memory(
        networks,
        activations,
        ranks=ranks,
        device_bytes=int(device_gb * 1e9),
        others=[("VAE and encoders, unsharded, bfloat16", frozen * _HALF)],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the plan; returns 0 if it fits, 1 if not, 2 for bad input."""
    parser = OneLineParser(prog="python -m training.memory", description=__doc__)
    parser.add_argument("--stage", type=int, choices=(1, 2), default=2)
    parser.add_argument("--ranks", type=int, default=32)
    parser.add_argument(
        "--batch", type=int, default=1, help="samples per device (default %(default)s)"
    )
    parser.add_argument("--size", default="416x720", metavar="WxH", help="(%(default)s)")
    parser.add_argument("--no-checkpointing", action="store_true")
    parser.add_argument("--device-gb", type=float, default=96.0, help="(%(default)s)")
    options = parser.parse_args(arguments)
    try:
        for field in ("ranks", "batch"):
            if getattr(options, field) < 1:
                raise InputError(f"--{field}", getattr(options, field), "at least 1")
        made = plan_of_14b(
            options.stage,
            ranks=options.ranks,
            batch=options.batch,
            size_hw=parse_size_hw(options.size, "--size", preset_spec(PUBLISHED)),
            checkpointing=not options.no_checkpointing,
            device_gb=options.device_gb,
        )
    except InputError as error:
        note(f"training: {error}")
        return 2
    made.show(Console())
    try:
        made.check()
    except InputError as error:
        print(f"does not fit: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(guarded("training.memory", main))
