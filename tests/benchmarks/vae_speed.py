"""Whole-chunk times of the video VAE on this machine.

    OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE python -m tests.benchmarks.vae_speed

prints the second table of docs/vae.md. Each cell is the fastest run: wall milliseconds, and in
brackets the processor time divided by the threads, which is what the wall time would be on an
otherwise idle machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from flashtalk.models.vae import VAEConfig, VideoVAE

PYRAMID = VAEConfig(
    dim=32,
    dim_mult=(2, 3, 3),
    num_res_blocks=1,
    decoder_res_blocks=1,
    spatial_down=(True, False),
    temporal_down=(True, True),
    patch_size=4,
    linear_shortcuts=True,
    linear_bypass=True,
)
CASES = (  # (name, configuration, pixels)
    ("published, width 8", VAEConfig(dim=8), 128),
    ("pyramid 64-96-96, patch 4", PYRAMID, 64),
    ("pyramid 64-96-96, patch 4", PYRAMID, 128),
    ("tiny", VAEConfig.tiny(), 64),
    ("tiny", VAEConfig.tiny(), 128),
)
FRAMES, LATENTS = 33, 9
TRAIN_BATCH, TRAIN_FRAMES, TRAIN_PX = 4, 17, 64


def timed(run: Callable[[], object], repeats: int = 8) -> str:
    run()
    wall, busy = [], []
    for _ in range(repeats):
        wall_start, busy_start = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - wall_start)
        busy.append(time.process_time() - busy_start)
    return f"{min(wall) * 1e3:.0f} ({min(busy) * 1e3 / torch.get_num_threads():.0f})"


def inference(config: VAEConfig, size_px: int, dtype: torch.dtype) -> tuple[str, str]:
    """Encode and decode of one chunk."""
    model = VideoVAE(config).eval().requires_grad_(False).to(dtype)
    video = torch.rand(1, 3, FRAMES, size_px, size_px, dtype=dtype) * 2 - 1
    latents = torch.randn(1, 16, LATENTS, size_px // 8, size_px // 8, dtype=dtype)
    with torch.no_grad():
        return timed(lambda: model.encode(video)), timed(lambda: model.decode(latents))


def training(config: VAEConfig) -> str:
    """Forward and backward of encode and decode."""
    model = VideoVAE(config)
    video = torch.rand(TRAIN_BATCH, 3, TRAIN_FRAMES, TRAIN_PX, TRAIN_PX) * 2 - 1

    def step() -> None:
        output = model.decode_raw(model.encode_moments(video).mu)
        loss = (output - video).abs().mean()
        torch.autograd.backward(loss)

    return timed(step, repeats=4)


def main() -> None:
    torch.manual_seed(0)
    print("| ms | size | encode fp32 | decode fp32 | encode bf16 | decode bf16 | train step |")
    print("|---|---|---|---|---|---|---|")
    for name, config, size_px in CASES:
        cells = [
            *inference(config, size_px, torch.float32),
            *inference(config, size_px, torch.bfloat16),
            training(config) if size_px == TRAIN_PX else "",
        ]
        print(f"| {name} | {size_px} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
