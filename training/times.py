"""``python -m training.times``: computation time of a training of the 14B model, by arithmetic.

The operations of one evaluation of the transformer are counted from the architecture, without
weights or a device. The rest follows from the schedule; the speed of the devices and the time of
the VAE are inputs. Communication and data are not included.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

import torch
from rich.console import Console
from rich.table import Table
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from flashtalk.errors import InputError
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT
from flashtalk.presets import PUBLISHED
from flashtalk.streaming import parse_size_hw, preset_spec
from flashtalk.terminal import OneLineParser, guarded, note

# In evaluations without a graph: the blocks once more, and two for the gradients.
_BACKWARD, _BACKWARD_KEPT = 3.0, 2.0
_STEPS, _MOST_CHUNKS, _FAKE_PER_STUDENT = 4, 5, 5


# The counter does not support the attention that PyTorch uses on a CPU.
_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def _attention_flops(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object
) -> int:
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[2] * (width + value[3])


def evaluation_flops(config: DiTConfig, size_hw: tuple[int, int]) -> int:
    """Returns the floating-point operations of one evaluation for one sample; a multiplication and
    an addition are two.

    All layers are equal, so that one and two of them are counted.

    Args:
        config: of the transformer.
        size_hw: of the video, pixels.
    """
    one, two = (_flops(replace(config, num_layers=layers), size_hw) for layers in (1, 2))
    return one + (config.num_layers - 1) * (two - one)


def _flops(config: DiTConfig, size_hw: tuple[int, int]) -> int:
    """Counts them layer by layer."""
    spec = preset_spec(PUBLISHED)
    frames = spec.latent_frames
    height, width = spec.latent_size(*size_hw)
    counter = FlopCounterMode(display=False, custom_mapping={_CPU_ATTENTION: _attention_flops})
    with FakeTensorMode(), torch.no_grad(), counter:
        dit = DiT(config)
        windows = (
            1,
            spec.chunk_frames,
            config.audio_window,
            config.audio_blocks,
            config.audio_channels,
        )
        dit(
            torch.empty(1, config.out_dim, frames, height, width),
            torch.empty(1),
            torch.empty(1, config.in_dim - config.out_dim, frames, height, width),
            dit.embed_context(
                torch.empty(1, config.clip_tokens, config.clip_dim),
                torch.empty(1, config.text_len, config.text_dim),
            ),
            dit.embed_audio(torch.empty(windows)),
        )
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class Cluster:
    """The inputs of the estimate.

    Args:
        ranks: number of devices.
        tflops: sustained 10^12 operations per second of each.
        vae_s: decoding a chunk and encoding its last frames again, seconds per sample.
        checkpointing: blocks are recomputed in the backward pass.
    """

    ranks: int
    tflops: float
    vae_s: float
    checkpointing: bool = True

    @property
    def backward(self) -> float:
        """Returns the cost of a gradient in evaluations."""
        return _BACKWARD if self.checkpointing else _BACKWARD_KEPT

    def hours(self, flops: float, batch: int, vae: float = 0.0) -> float:
        """Returns the hours of operations and VAE passes per sample, for that many samples."""
        return (flops / (self.tflops * 1e12) + vae * self.vae_s) * batch / self.ranks / 3600


def stage1_hours(flops: int, machine: Cluster, *, steps: int, batch: int) -> float:
    """Returns the hours of one evaluation and its gradient per step."""
    return machine.hours(steps * (1 + machine.backward) * flops, batch)


def stage2_hours(
    flops: int,
    machine: Cluster,
    *,
    turns: int,
    batch: int,
    chunks: Sequence[int],
    previous: str = "full",
    guided: int = 3,
) -> float:
    """Returns the hours of Stage 2: turns update the fake score, every fifth the student too.

    Args:
        flops: of an evaluation.
        machine: the devices.
        turns, batch: of the schedule; samples of all devices together.
        chunks: values of k, equally likely.
        previous: chunks before the last run all steps (``full``) or stop at t' too (``same``).
        guided: evaluations of the real score, 1 to 3.
    """
    exit_step = (1 + _STEPS) / 2
    before = mean(chunks) - 1
    rollout = before * (_STEPS if previous == "full" else exit_step) + exit_step
    student = rollout + machine.backward + guided + 1
    fake = rollout + 1 + machine.backward
    moves = turns / _FAKE_PER_STUDENT
    evaluations = moves * student + turns * fake
    return machine.hours(evaluations * flops, batch, (moves + turns) * before)


def hours_of_report(flops: int, machine: Cluster, batch: int, previous: str) -> dict[str, float]:
    """Returns the report's two stages, the second for every row of its Table 2."""
    found = {"Stage 1, 1000 steps": stage1_hours(flops, machine, steps=1000, batch=batch)}
    every = range(1, _MOST_CHUNKS + 1)
    kinds = (("K = 1", [1]), ("K = 3", [3]), ("K = 5", [5]), ("random 1..5", every))
    for name, chunks in kinds:
        found[f"Stage 2, 200 turns, {name}"] = stage2_hours(
            flops, machine, turns=200, batch=batch, chunks=chunks, previous=previous
        )
    return found


def show(hours: Mapping[str, float], flops: int, machine: Cluster) -> None:
    """Formats a table."""
    title = f"hours on {machine.ranks} devices at {machine.tflops:g} TFLOP/s each"
    table = Table(title=title, title_justify="left")
    table.add_column("computed, not measured")
    table.add_column("hours", justify="right")
    for row, value in hours.items():
        table.add_row(row, f"{value:.2f}")
    console = Console()
    console.print(table)
    console.print(f"one evaluation: {flops / 1e12:.0f} TFLOP per sample")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the hours; returns 0, or 2 for bad input."""
    parser = OneLineParser(prog="python -m training.times", description=__doc__)
    parser.add_argument("--ranks", type=int, default=32)
    parser.add_argument(
        "--batch",
        type=int,
        default=32,
        help="batch size of all devices together (default %(default)s)",
    )
    parser.add_argument("--size", default="416x720", metavar="WxH", help="(%(default)s)")
    parser.add_argument(
        "--tflops",
        type=float,
        default=80.0,
        help="sustained TFLOP/s per device (default %(default)s, assumed for H20)",
    )
    parser.add_argument(
        "--vae-s",
        type=float,
        default=1.5,
        help="seconds for VAE decode and encode between chunks (default %(default)s, assumed)",
    )
    parser.add_argument(
        "--previous",
        choices=("full", "same"),
        default="full",
        help="denoising steps of the chunks before the last (default %(default)s)",
    )
    parser.add_argument("--no-checkpointing", action="store_true")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        for field in ("ranks", "batch", "tflops"):
            if not getattr(options, field) > 0:
                raise InputError(f"--{field}", getattr(options, field), "above 0")
        if not options.vae_s >= 0:
            raise InputError("--vae-s", options.vae_s, "at least 0")
        size_hw = parse_size_hw(options.size, "--size", preset_spec(PUBLISHED))
    except InputError as error:
        note(f"training: {error}")
        return 2
    machine = Cluster(
        options.ranks, options.tflops, options.vae_s, checkpointing=not options.no_checkpointing
    )
    flops = evaluation_flops(DiTConfig.flashtalk_14b(), size_hw)
    hours = hours_of_report(flops, machine, options.batch, options.previous)
    if options.json:
        print(json.dumps({"flops": flops, "hours": hours}, indent=2))
    else:
        show(hours, flops, machine)
    return 0


if __name__ == "__main__":
    sys.exit(guarded("training.times", main))
