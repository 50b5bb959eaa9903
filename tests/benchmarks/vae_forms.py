"""Ways to run the VAE's two hot operations, timed: the causal 3x3x3 convolution and the norm.

    OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE python -m tests.benchmarks.vae_forms

prints the table of docs/vae.md. Every form computes the same numbers (checked before timing).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.ops.video_convolution import as_frames, as_video

Conv = Callable[[Tensor, Tensor, Tensor], Tensor]
Norm = Callable[[Tensor, Tensor], Tensor]

SHAPES = (  # (channels, frames, height = width)
    (8, 33, 128),
    (16, 33, 64),
    (32, 17, 32),
    (48, 33, 32),
    (64, 33, 32),
    (96, 17, 16),
    (96, 9, 16),
)


def conv3d_plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.conv3d(F.pad(x.contiguous(), (0, 0, 0, 0, 2, 0)), w.contiguous(), b, padding=(0, 1, 1))


def conv3d_padded(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.conv3d(F.pad(x, (0, 0, 0, 0, 2, 0)), w, b, padding=(0, 1, 1))


def conv3d_sliced(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.conv3d(x, w, b, padding=(2, 1, 1))[:, :, : x.shape[2]]


def taps_summed(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    y = as_video(F.conv2d(as_frames(x), w[:, :, 2], b, padding=1), x.shape[0])
    for tap, lag in ((1, 1), (0, 2)):
        part = F.conv2d(
            x[:, :, :-lag].permute(0, 2, 1, 3, 4).flatten(0, 1), w[:, :, tap], None, padding=1
        )
        y[:, :, lag:] += as_video(part, x.shape[0])
    return y


def taps_as_outputs(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    stacked = w.permute(2, 0, 1, 3, 4).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    y = as_video(F.conv2d(as_frames(x), stacked, None, padding=1), x.shape[0])
    p0, p1, p2 = y.chunk(3, dim=1)
    out = p2 + b.view(1, -1, 1, 1, 1)
    out[:, :, 1:] += p1[:, :, :-1]
    out[:, :, 2:] += p0[:, :, :-2]
    return out


def taps_as_inputs(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    stacked = w.permute(0, 2, 1, 3, 4).flatten(1, 2).contiguous(memory_format=torch.channels_last)
    padded = F.pad(x, (0, 0, 0, 0, 2, 0))
    t = x.shape[2]
    wide = torch.cat((padded[:, :, :t], padded[:, :, 1 : t + 1], padded[:, :, 2:]), dim=1)
    return as_video(F.conv2d(as_frames(wide), stacked, b, padding=1), x.shape[0])


def mkldnn_3d(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    padded = F.pad(x, (0, 0, 0, 0, 2, 0))
    return torch.mkldnn_convolution(padded, w, b, (0, 1, 1), (1, 1, 1), (1, 1, 1), 1)


def norm_published(x: Tensor, g: Tensor) -> Tensor:
    return F.silu(F.normalize(x, dim=1) * x.shape[1] ** 0.5 * g)


def norm_rms(x: Tensor, g: Tensor) -> Tensor:
    y = F.rms_norm(x.permute(0, 2, 3, 4, 1), (x.shape[1],), g.flatten(), eps=1e-24)
    return F.silu(y).permute(0, 4, 1, 2, 3)


def norm_sum(x: Tensor, g: Tensor) -> Tensor:
    scale = torch.rsqrt((x * x).mean(dim=1, keepdim=True) + 1e-24)
    return F.silu(x * scale * g)


def norm_matmul(x: Tensor, g: Tensor) -> Tensor:
    last = x.permute(0, 2, 3, 4, 1)
    c = x.shape[1]
    power = (last * last) @ last.new_full((c, c), 1.0 / c)
    return F.silu(last * power.add_(1e-24).rsqrt_() * g.flatten()).permute(0, 4, 1, 2, 3)


def norm_column(x: Tensor, g: Tensor) -> Tensor:
    last = x.permute(0, 2, 3, 4, 1)
    c = x.shape[1]
    power = (last * last) @ last.new_full((c, 1), 1.0 / c)
    return F.silu(last * power.add_(1e-24).rsqrt_() * g.flatten()).permute(0, 4, 1, 2, 3)


def up_nearest(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), w, b, padding=1)


def up_subpixel(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """One low-resolution convolution to 4 phases: each sums the taps that hit the same pixel."""
    rows = w.new_tensor([[[1, 0, 0], [0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 1, 0], [0, 0, 1]]])
    phases = torch.einsum("ocij,pyi,qxj->opqcyx", w, rows, rows).flatten(0, 2)
    phases = phases.contiguous(memory_format=torch.channels_last)
    return F.pixel_shuffle(F.conv2d(x, phases, b.repeat_interleave(4), padding=1), 2)


UPS: dict[str, Conv] = {"nearest, conv": up_nearest, "conv to 4 phases, shuffle": up_subpixel}
CONVS: dict[str, Conv] = {
    "conv3d plain": conv3d_plain,
    "conv3d padded": conv3d_padded,
    "conv3d sliced": conv3d_sliced,
    "taps summed": taps_summed,
    "taps as outputs": taps_as_outputs,
    "taps as inputs": taps_as_inputs,
    "mkldnn conv3d": mkldnn_3d,
}
NORMS: dict[str, Norm] = {
    "normalize": norm_published,
    "rms_norm": norm_rms,
    "mean of squares": norm_sum,
    "matmul CxC": norm_matmul,
    "matmul Cx1": norm_column,
}


def best_ms(run: Callable[[], object], repeats: int = 8) -> float:
    """Processor time of the fastest of a few runs, divided by the threads, milliseconds.

    What the wall time is on an idle machine; other programs hardly change it.
    """
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times) * 1e3 / torch.get_num_threads()


def inputs(shape: tuple[int, int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    c, t, size = shape
    layout = torch.channels_last_3d
    x = torch.randn(1, c, t, size, size, dtype=dtype).contiguous(memory_format=layout)
    w = torch.randn(c, c, 3, 3, 3, dtype=dtype).contiguous(memory_format=layout) / (c * 27) ** 0.5
    return x, w, torch.randn(c, dtype=dtype)


def row(form: Callable[[], Tensor], expected: Tensor) -> float:
    error = (form().float() - expected.float()).abs().max().item()
    limit = 1e-4 if expected.dtype == torch.float32 else 0.2
    if error > limit:
        raise AssertionError(f"forms disagree by {error}")
    return best_ms(form)


def main() -> None:
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    for dtype in (torch.float32, torch.bfloat16):
        heads = [f"{c}x{t}x{s}x{s}" for c, t, s in SHAPES]
        print(f"\n| {str(dtype).removeprefix('torch.')}, ms | " + " | ".join(heads) + " |")
        print("|---" * (len(heads) + 1) + "|")
        made = [inputs(shape, dtype) for shape in SHAPES]
        for name, conv in CONVS.items():
            cells = [
                row(lambda conv=conv, a=a: conv(*a), conv3d_padded(*a))  # type: ignore[misc]
                for a in made
            ]
            print(f"| {name} | " + " | ".join(f"{ms:.2f}" for ms in cells) + " |", flush=True)
        for title, norm in NORMS.items():
            cells = []
            for x, _, b in made:
                g = b.view(-1, 1, 1, 1)
                cells.append(
                    row(lambda norm=norm, x=x, g=g: norm(x, g), norm_published(x, g))  # type: ignore[misc]
                )
            print(f"| norm+SiLU, {title} | " + " | ".join(f"{ms:.2f}" for ms in cells) + " |")
        for title, up in UPS.items():
            cells = []
            for x, w, b in made:
                low = (
                    as_frames(x)[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last),
                    w[: x.shape[1] // 2, :, 0],
                    b[: x.shape[1] // 2],
                )
                cells.append(row(lambda up=up, low=low: up(*low), up_nearest(*low)))  # type: ignore[misc]
            print(
                f"| up x2 to this size, {title} | " + " | ".join(f"{ms:.2f}" for ms in cells) + " |"
            )


if __name__ == "__main__":
    main()
