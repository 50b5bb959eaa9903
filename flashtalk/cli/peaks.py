"""The peak speeds of this machine: matrix products, convolutions, copies; measured in seconds.

The fastest call counts: a peak is the maximum speed, not the usual one.

Legend: B batch, C channels, H W rows and columns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.cli.call_times import Repeats, time_calls
from flashtalk.ops.widened import EMULATES_BF16

FP8 = "float8"
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_CHANNELS = 384
"""Shape of the published VAE's middle layers, which do most of its work."""
_FIRST_WITH_FP8 = (8, 9)


@dataclass(frozen=True)
class Sizes:
    """Sizes of the measurements.

    Args:
        matrix: rows and columns of both factors.
        picture: frames, rows and columns of a convolution of 384 channels.
        copied_bytes: size of a copy.
        repeats: number of calls of each.
    """

    matrix: int
    picture: tuple[int, int, int]
    copied_bytes: int
    repeats: Repeats

    @classmethod
    def of(cls, device: torch.device) -> Sizes:
        """Returns sizes that are large enough for a kind of device and take a few seconds."""
        if device.type == "cpu":
            # Many short calls: some of them run without other programs on the cores.
            return cls(1024, (4, 16, 16), 128 << 20, Repeats(2, 40))
        return cls(8192, (17, 104, 180), 1 << 30, Repeats(3, 10))


@dataclass(frozen=True)
class Peaks:
    """The peaks of one device.

    Args:
        matrix_flops_s: floating-point operations per second of a matrix product, by dtype name;
            ``float8`` only if the device has it.
        convolution_flops_s: the same of a 3x3 convolution.
        copy_bytes_s: bytes read and written per second by a copy in the device's memory.
    """

    matrix_flops_s: dict[str, float]
    convolution_flops_s: dict[str, float]
    copy_bytes_s: float

    def or_better(self, other: Peaks) -> Peaks:
        """Returns the maximum of two measurements of one device."""
        pairs = (
            (self.matrix_flops_s, other.matrix_flops_s),
            (self.convolution_flops_s, other.convolution_flops_s),
        )
        matrix, convolution = (
            {name: max(mine.get(name, 0.0), theirs.get(name, 0.0)) for name in mine | theirs}
            for mine, theirs in pairs
        )
        return Peaks(matrix, convolution, max(self.copy_bytes_s, other.copy_bytes_s))


def measure_peaks(device: torch.device, sizes: Sizes | None = None) -> Peaks:
    """Measures all peaks of a device."""
    chosen = sizes or Sizes.of(device)
    kinds = dict(TYPES)
    if device.type == "cpu" and EMULATES_BF16:
        kinds["bfloat16"] = torch.float32  # dtype of its products
    matrix = {name: _matrix_flops_s(device, kind, chosen) for name, kind in kinds.items()}
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= _FIRST_WITH_FP8:
        # A build of torch without the kernel raises; the other peaks are still useful.
        with contextlib.suppress(RuntimeError):
            matrix[FP8] = _fp8_flops_s(device, chosen)
    return Peaks(
        matrix_flops_s=matrix,
        convolution_flops_s={
            name: _convolution_flops_s(device, kind, chosen) for name, kind in kinds.items()
        },
        copy_bytes_s=_copy_bytes_s(device, chosen),
    )


def _per_second(
    amount: float, run: Callable[[], object], device: torch.device, sizes: Sizes
) -> float:
    with torch.inference_mode():
        return amount / min(time_calls(run, device, sizes.repeats).calls_s)


def _matrix_flops_s(device: torch.device, kind: torch.dtype, sizes: Sizes) -> float:
    a, b = (torch.randn(sizes.matrix, sizes.matrix, device=device, dtype=kind) for _ in "ab")
    out, flops = torch.empty_like(a), 2.0 * sizes.matrix**3
    usual = _per_second(flops, lambda: torch.mm(a, b, out=out), device, sizes)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return usual
    # torch uses MKL for float32; on AMD's processors oneDNN is twice as fast.
    other = torch.ops.mkldnn._linear_pointwise
    with contextlib.suppress(RuntimeError):
        return max(
            usual, _per_second(flops, lambda: other(a, b, None, "none", [], ""), device, sizes)
        )
    return usual


def _fp8_flops_s(device: torch.device, sizes: Sizes) -> float:
    a, b = (
        torch.randn(sizes.matrix, sizes.matrix, device=device).to(torch.float8_e4m3fn) for _ in "ab"
    )
    one = torch.ones((), device=device)

    def product() -> Tensor:
        return torch._scaled_mm(
            a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
        )

    return _per_second(2.0 * sizes.matrix**3, product, device, sizes)


def _convolution_flops_s(device: torch.device, kind: torch.dtype, sizes: Sizes) -> float:
    """Measures convolutions of pictures, on an accelerator also of video: the faster counts."""
    frames, height, width = sizes.picture
    x_BCHW = torch.randn(frames, _CHANNELS, height, width, device=device, dtype=kind)
    w = torch.randn(_CHANNELS, _CHANNELS, 3, 3, device=device, dtype=kind) / _CHANNELS
    x_BCHW = x_BCHW.to(memory_format=torch.channels_last)
    w = w.to(memory_format=torch.channels_last)
    flops = 2.0 * x_BCHW.numel() * _CHANNELS * 9
    flat = _per_second(flops, lambda: F.conv2d(x_BCHW, w, padding=1), device, sizes)
    if device.type == "cpu":
        return flat
    x_BCTHW = x_BCHW.permute(1, 0, 2, 3)[None].contiguous(memory_format=torch.channels_last_3d)
    w3 = w[:, :, None].expand(-1, -1, 3, -1, -1).contiguous(memory_format=torch.channels_last_3d)
    whole = flops * 3 * (frames - 2) / frames
    deep = _per_second(whole, lambda: F.conv3d(x_BCTHW, w3, padding=(0, 1, 1)), device, sizes)
    return max(flat, deep)


def _copy_bytes_s(device: torch.device, sizes: Sizes) -> float:
    source = torch.ones(sizes.copied_bytes, device=device, dtype=torch.uint8)
    target = torch.zeros_like(source)
    return _per_second(2.0 * sizes.copied_bytes, lambda: target.copy_(source), device, sizes)
