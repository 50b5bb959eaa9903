"""One sampler step of the transformer, timed in every way it may be run.

    OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE python -m tests.benchmarks.dit_step

prints milliseconds (median and 95th percentile) per step of the tiny preset at several frame
sizes: keys and values recomputed or cached, float32 or bfloat16, eager or compiled.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from flashtalk.models.dit import DiT, DiTConfig

FRAMES, LATENT_FRAMES, STRIDE = 33, 9, 8


def inputs(config: DiTConfig, size_px: int, batch: int) -> tuple[Tensor, ...]:
    """x, t, y, image tokens, text tokens and speech windows of random numbers."""
    side = size_px // STRIDE
    return (
        torch.randn(batch, config.out_dim, LATENT_FRAMES, side, side),
        torch.full((batch,), 937.5),
        torch.randn(batch, config.cond_dim, LATENT_FRAMES, side, side),
        torch.randn(batch, config.clip_tokens, config.clip_dim),
        torch.randn(batch, config.text_len, config.text_dim),
        torch.randn(batch, FRAMES, config.audio_window, config.audio_blocks, config.audio_channels),
    )


def forms(dit: DiT, size_px: int, batch: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    x, t, y, clip, text, win = inputs(dit.config, size_px, batch)
    context, audio = dit.encode_context(clip, text), dit.encode_audio(win)
    tokens = dit.embed_context(clip, text), dit.embed_audio(win)
    half = DiT(dit.config).to(torch.bfloat16).eval()
    half_kv = half.encode_context(clip, text), half.encode_audio(win)
    compiled, compiled_half = torch.compile(dit), torch.compile(half)
    return {
        "session K/V (once)": lambda: dit.encode_context(clip, text),
        "chunk K/V (once a chunk)": lambda: dit.encode_audio(win),
        "float32, K/V recomputed": lambda: dit(x, t, y, *tokens),
        "float32": lambda: dit(x, t, y, context, audio),
        "float32 compiled": lambda: compiled(x, t, y, context, audio),
        "bfloat16": lambda: half(x, t, y, *half_kv),
        "bfloat16 compiled": lambda: compiled_half(x, t, y, *half_kv),
    }


def milliseconds(run: Callable[[], object], repeats: int) -> list[float]:
    """Sorted times of ``repeats`` runs after two that warm up."""
    for _ in range(2):
        run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return sorted(times)


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 128], metavar="PX")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    dit = DiT(DiTConfig.tiny()).eval()
    print(f"{'size':>5} {'batch':>5}  {'form':<26}{'p50 ms':>9}{'p95 ms':>9}")
    for size_px in args.sizes:
        for batch in args.batches:
            for name, run in forms(dit, size_px, batch).items():
                times = milliseconds(run, args.repeats)
                p95 = times[min(len(times) - 1, int(0.95 * len(times)))]
                p50 = statistics.median(times)
                print(f"{size_px:>5} {batch:>5}  {name:<26}{p50:>9.1f}{p95:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
