"""``python -m tests.benchmarks.oracle``: the engine's networks beside their plain formulation.

Equal weights, equal inputs, in turn in one process, so that both see the same machine. The plain
form (``tests/oracle``) is what the published code computes, as it computes it: every condition
projected again in every step, the VAE latent by latent, and in bfloat16 under autocast. Each pair
has to agree before it is timed.

Prints a table, writes JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from flashtalk.cli.bench_report import load_average, machine
from flashtalk.engine import keep_freed_memory
from flashtalk.engine.compiled import compile_transformer
from flashtalk.models.dit import DiT, DiTConfig
from flashtalk.models.vae import VAEConfig, VideoVAE
from tests.oracle.plain_dit import PlainDiT
from tests.oracle.plain_vae import PlainVAE

Run = Callable[[], Tensor]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
_FRAMES, _LATENTS, _MOTION, _STEPS = 33, 9, 5, 4
_HEAD_WIDTH = 128
# Root mean square of the difference over that of the result: rounding, in as many layers.
_AGREEMENT = {torch.float32: 1e-4, torch.bfloat16: 0.1}


@dataclass(frozen=True)
class Pair:
    """One thing computed in both ways."""

    plain: Run
    ours: Run


@dataclass(frozen=True)
class Network:
    """Sizes of a transformer and of the chunk that it makes."""

    config: DiTConfig
    size_hw: tuple[int, int]


def transformer(width: int, layers: int) -> DiTConfig:
    """The published conditions and heads at another width."""
    return DiTConfig(
        dim=width, ffn_dim=4 * width, num_heads=width // _HEAD_WIDTH, num_layers=layers
    )


TRANSFORMERS = {
    "DiT 256x8, 576 tokens": Network(transformer(256, 8), (128, 128)),
    "DiT 640x10, 2016 tokens": Network(transformer(640, 10), (224, 256)),
}
WIDTHS = {"VAE width 8": 8, "VAE width 96": 96}


class Step:
    """One evaluation of a transformer with random weights, in both ways."""

    def __init__(self, network: Network, dtype: torch.dtype, compiled: bool) -> None:
        dit = DiT(network.config).eval().requires_grad_(False)
        torch.nn.init.normal_(dit.head.head.weight, std=0.02)
        self._dit: DiT = dit.to(dtype)
        self._plain = PlainDiT(network.config, self._dit.state_dict())
        cfg, (height, width) = network.config, network.size_hw
        size = (_LATENTS, height // 8, width // 8)
        self._x, self._t = torch.randn(1, cfg.out_dim, *size), torch.tensor([937.5])
        self._y = torch.randn(1, cfg.cond_dim, *size)
        self._clip = torch.randn(1, cfg.clip_tokens, cfg.clip_dim)
        self._text = torch.randn(1, 12, cfg.text_dim)
        self._windows = torch.randn(
            1, _FRAMES, cfg.audio_window, cfg.audio_blocks, cfg.audio_channels
        )
        self._context = self._dit.encode_context(self._clip, self._text)
        if compiled:
            compile_transformer(self._dit)

    def plain(self) -> Tensor:
        """Everything from its inputs, as published."""
        return self._plain(self._x, self._t, self._y, self._clip, self._text, self._windows)

    def step(self) -> Tensor:
        """With what a session and a chunk keep."""
        velocity: Tensor = self._dit(self._x, self._t, self._y, self._context, self._audio)
        return velocity

    def keep_audio(self) -> None:
        """What is done once per chunk."""
        self._audio = self._dit.encode_audio(self._windows)


def step_pair(step: Step) -> Pair:
    """One sampler step."""
    step.keep_audio()
    return Pair(step.plain, step.step)


def codecs(width: int, dtype: torch.dtype) -> tuple[PlainVAE, VideoVAE]:
    """A VAE of the published structure with random weights, in both ways.

    The published one keeps float32 weights and rounds them under autocast, call by call.
    """
    vae = VideoVAE(VAEConfig(dim=width)).eval().requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    return PlainVAE(vae.config, state), vae.to(dtype)


def autocast(run: Run, dtype: torch.dtype) -> Run:
    """``run`` in the precision ``dtype``, inputs and weights rounded where they are used."""

    def rounded() -> Tensor:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return run()

    return rounded


def vae_pairs(width: int, dtype: torch.dtype, size_px: int = 128) -> Iterator[tuple[str, Pair]]:
    """Decoding of a chunk, encoding of its motion frames and of a portrait's clip."""
    plain, vae = codecs(width, dtype)
    z = torch.randn(1, 16, _LATENTS, size_px // 8, size_px // 8)
    decode = autocast(lambda: plain.decode(z), dtype)
    yield f"decode {_LATENTS}", Pair(decode, lambda: vae.decode(z.to(dtype)))
    for frames in (_MOTION, _FRAMES):
        video = torch.rand(1, 3, frames, size_px, size_px) * 2 - 1
        encode = autocast(lambda v=video: plain.encode(v), dtype)  # type: ignore[misc]
        yield f"encode {frames}", Pair(encode, lambda v=video: vae.encode(v.to(dtype)))  # type: ignore[misc]


def chunk_pair(dtype: torch.dtype, compiled: bool) -> Pair:
    """Four steps, decoding, motion frames: DiT 256x8 and VAE width 8 at 128x128."""
    step = Step(TRANSFORMERS["DiT 256x8, 576 tokens"], dtype, compiled)
    decode, encode = (pair for _, pair in list(vae_pairs(8, dtype))[:2])

    def plain() -> Tensor:
        for _ in range(_STEPS):
            step.plain()
        decode.plain()
        return encode.plain()

    def ours() -> Tensor:
        step.keep_audio()
        for _ in range(_STEPS):
            step.step()
        decode.ours()
        return encode.ours()

    return Pair(plain, ours)


def cases(dtype: torch.dtype, compiled: bool, wide: bool) -> Iterator[tuple[str, Pair]]:
    """All that is compared."""
    for name, network in TRANSFORMERS.items():
        yield name, step_pair(Step(network, dtype, compiled))
    for name, width in WIDTHS.items():
        if width > 8 and not wide:
            continue
        for what, pair in vae_pairs(width, dtype):
            if width == 8 or what != f"encode {_FRAMES}":
                yield f"{name}, {what}", pair
    yield "chunk: DiT 256x8, VAE width 8", chunk_pair(dtype, compiled)


def disagreement(pair: Pair) -> float:
    """Relative root mean square of the difference."""
    plain, ours = pair.plain().double(), pair.ours().double()
    return float((plain - ours).square().mean().sqrt() / plain.square().mean().sqrt())


def compare(pair: Pair, repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """Milliseconds of both, in turn; the median of the ratios of neighbours."""
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(repeats):
        for name, run in (("plain", pair.plain), ("ours", pair.ours)):
            begun_s = clock()
            run()
            times[name].append(1e3 * (clock() - begun_s))
    ratios = [p / o for p, o in zip(times["plain"], times["ours"], strict=True)]
    return {
        "plain_ms": statistics.median(times["plain"]),
        "ours_ms": statistics.median(times["ours"]),
        "ratio": statistics.median(ratios),
    }


@torch.inference_mode()
def measure(given: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Every case in every precision."""
    found: dict[str, Any] = {}
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("cases", total=None)
        for precision in given.precision:
            torch.manual_seed(0)
            for name, pair in cases(DTYPES[precision], given.compile, given.wide):
                if given.only not in name:
                    continue
                progress.update(bar, description=f"{precision}: {name}")
                if (error := disagreement(pair)) > _AGREEMENT[DTYPES[precision]]:
                    raise AssertionError(f"{name}, {precision}: forms differ by {error:.2g}")
                row = {**compare(pair, given.repeats, CLOCKS[given.clock]), "difference": error}
                found.setdefault(name, {})[precision] = row
    return found


def show(found: dict[str, Any], console: Console) -> None:
    """The table."""
    table = Table(title="the plain form and ours, medians in ms")
    table.add_column("")
    for column in ("precision", "plain", "ours", "ratio"):
        table.add_column(column, justify="right")
    for name, rows in found.items():
        for precision, row in rows.items():
            times = (f"{row['plain_ms']:.0f}", f"{row['ours_ms']:.0f}", f"{row['ratio']:.2f}")
            table.add_row(name, precision, *times)
    console.print(table)


def main() -> int:
    """Measures, prints, writes JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.oracle", description=__doc__)
    parser.add_argument("--precision", nargs="+", default=list(DTYPES), choices=DTYPES)
    parser.add_argument("--repeats", type=int, default=7, help="pairs of runs (%(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases that contain it")
    parser.add_argument("--wide", action="store_true", help="the published VAE's width too: slow")
    parser.add_argument("--compile", action="store_true", help="our transformer compiled")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="what is counted")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    keep_freed_memory()  # as every process of the engine does
    console, average = Console(), load_average()
    found = measure(given, console)
    show(found, console)
    if given.out is not None:
        written = {
            "machine": machine(),
            "load_average": average,
            "clock": given.clock,
            "cases": found,
        }
        given.out.write_text(json.dumps(written, indent=2) + "\n")
        console.print(f"{given.out}: written", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
