"""Compares each kernel of the engine with a more exact one on this machine.

A wrong kernel is not visible: it gives wrong pictures or wrong speech features (``ops.convolution``
has an example). So every kernel runs here once in every precision of the engine, on small tensors,
and is compared with the next finer precision on the same rounded numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.models.wav2vec2 import AudioConfig
from flashtalk.ops.attention import attention, available_backends, frame_attention
from flashtalk.ops.convolution import is_reliable_in_half
from flashtalk.ops.linear import linear
from flashtalk.ops.norms import layer_norm, rms_norm
from flashtalk.ops.token_slice import TokenSlice
from flashtalk.ops.video_convolution import convolve, convolve_frames

Run = Callable[..., Tensor]
Shapes = tuple[tuple[int, ...], ...]

# Relative errors (root mean square). Correct kernels differ by the rounding of the result, 0.002 in
# bfloat16, and by 0.001 where cuDNN uses TF32 for float32; wrong ones differed by 0.2 and more.
LIMITS = {torch.float32: 0.005, torch.bfloat16: 0.02, torch.float16: 0.02}
_FINER = {torch.float32: torch.float64}


@dataclass(frozen=True)
class Form:
    """A kernel as the engine calls it.

    Attributes:
        name: its computation.
        where: the models that use it.
        shapes: of its random inputs.
        run: function of these inputs.
        reliable: False if the engine does not use it in half precision on a CPU.
        trained: True if only training uses it; compares gradients of the first input and weights.
    """

    name: str
    where: str
    shapes: Shapes
    run: Run
    reliable: bool = True
    trained: bool = False


@dataclass(frozen=True)
class Checked:
    """The result of a check; plain values, ready for JSON.

    Attributes:
        device, dtype: device and precision.
        error: relative, root mean square; infinite if a value is not finite.
        limit: upper bound of a correct kernel's error.
        used: False if the engine uses another precision instead.
        refusal: why it did not run; empty if it did.
    """

    form: str
    where: str
    device: str
    dtype: str
    error: float
    limit: float
    used: bool
    refusal: str = ""

    @property
    def right(self) -> bool:
        """Whether the result is correct."""
        return not self.refusal and self.error <= self.limit

    @property
    def harmful(self) -> bool:
        """Whether the result is wrong and the engine uses the kernel."""
        return self.used and not self.right


def _grouped(x_BCN: Tensor, weight: Tensor) -> Tensor:
    groups = x_BCN.shape[1] // weight.shape[1]
    return F.conv1d(x_BCN, weight, padding=weight.shape[-1] // 2, groups=groups)


def _strided(stride: int) -> Run:
    return lambda x_BCN, weight: F.conv1d(x_BCN, weight, stride=stride)


def _video(x: Tensor, weight: Tensor) -> Tensor:
    return convolve(x, weight, None, margin=weight.shape[-1] // 2)


def _every_second_frame(x: Tensor, weight: Tensor) -> Tensor:
    return convolve(x, weight, None, stride_t=2)


def _every_second(x: Tensor, weight: Tensor) -> Tensor:
    return convolve(x, weight, None, margin=1, stride_t=2, stride_hw=2)


def _every_second_pixel(x: Tensor, weight: Tensor) -> Tensor:
    return convolve_frames(x, weight, None, stride=2)


def _channel_norm(x: Tensor, gain: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], gain, 1e-6)


def _by_frame(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return frame_attention(q, k, v, TokenSlice.whole(q.shape[1]))


_SPEECH = (AudioConfig.tiny(), AudioConfig.flashtalk_14b())


def _waveform_forms() -> list[Form]:
    """Returns the speech encoder's convolutions: one input channel first, then a few shapes."""
    taps, stride = _SPEECH[0].conv_kernel[0], _SPEECH[0].conv_stride[0]
    later = {pair for c in _SPEECH for pair in zip(c.conv_kernel, c.conv_stride, strict=True)}
    forms = [(1, taps, stride), *((256, *pair) for pair in sorted(later - {(taps, stride)}))]
    return [
        Form(
            f"convolution {taps}, stride {stride}, of {channels}",
            "Wav2Vec2",
            ((1, channels, 160), (256, channels, taps)),
            _strided(stride),
            reliable=False,
        )
        for channels, taps, stride in forms
    ]


def _positional(config: AudioConfig) -> Form:
    width, taps = config.hidden_size, config.num_conv_pos_embeddings
    groups = config.num_conv_pos_embedding_groups
    return Form(
        f"convolution {taps} of {width}, {groups} groups",
        "Wav2Vec2",
        ((1, width, 25), (width, width // groups, taps)),
        _grouped,
        reliable=is_reliable_in_half(width, 26, groups=groups),
    )


_FRAMES = (1, 64, 5, 16, 16)  # [B, C, T, H, W]
_FORMS = (
    Form("matrix product", "all", ((96, 256), (512, 256)), linear),
    Form("layer norm", "DiT", ((64, 256),), lambda x: layer_norm(x, 1e-6)),
    Form("RMS norm", "DiT, umT5", ((64, 256), (256,)), lambda x, g: rms_norm(x, g, 1e-6)),
    Form("RMS norm of channels", "VAE", ((64, 96), (96,)), _channel_norm),
    Form("GELU", "DiT, CLIP", ((64, 256),), lambda x: F.gelu(x, approximate="tanh")),
    Form("SiLU", "VAE, DiT", ((64, 256),), F.silu),
    Form(
        "attention to a latent frame's speech",
        "DiT",
        ((1, 48, 4, 64), (1, 3, 8, 4, 64), (1, 3, 8, 4, 64)),
        _by_frame,
    ),
    Form("convolution 3x3x3", "VAE", (_FRAMES, (64, 64, 3, 3, 3)), _video),
    Form("convolution 1x3x3", "VAE", (_FRAMES, (64, 64, 1, 3, 3)), _video),
    Form("convolution 3x1x1", "VAE", (_FRAMES, (64, 64, 3, 1, 1)), _video),
    Form("convolution 3x1x1, stride 2", "VAE", (_FRAMES, (64, 64, 3, 1, 1)), _every_second_frame),
    Form("convolution 3x3x3, stride 2", "LTX VAE", (_FRAMES, (64, 64, 3, 3, 3)), _every_second),
    Form(
        "convolution 3x3",
        "VAE",
        ((4, 64, 16, 16), (32, 64, 3, 3)),
        lambda x, w: convolve_frames(x, w, None, margin=1),
    ),
    Form(
        "convolution 3x3, stride 2", "VAE", ((4, 64, 17, 17), (64, 64, 3, 3)), _every_second_pixel
    ),
    *_waveform_forms(),
    *(_positional(config) for config in _SPEECH),
    Form("convolution 3x3x3, gradients", "VAE", (_FRAMES, (64, 64, 3, 3, 3)), _video, trained=True),
    Form("matrix product, gradients", "all", ((96, 256), (512, 256)), F.linear, trained=True),
)


def attention_forms(device: str) -> tuple[Form, ...]:
    """Returns attention in each kernel of this device."""
    q_BNHD, k_BMHD = (1, 96, 4, 128), (1, 77, 4, 128)
    return tuple(
        Form(
            f"attention, {backend}",
            "all",
            (q_BNHD, k_BMHD, k_BMHD),
            lambda q, k, v, backend=backend: attention(
                q, k, v, backend=backend if q.dtype in (torch.bfloat16, torch.float16) else None
            ),
        )
        for backend in available_backends(device)
    )


def dtypes_of(device: str) -> tuple[torch.dtype, ...]:
    """Returns the precisions of the engine on a device."""
    if torch.device(device).type == "cuda":
        return (torch.float32, torch.bfloat16, torch.float16)
    return (torch.float32, torch.bfloat16)


def check_kernels(device: str = "cpu", forms: tuple[Form, ...] | None = None) -> list[Checked]:
    """Checks all forms in all precisions on a device; under two seconds on two CPU cores.

    Args:
        device: torch's name of it.
        forms: forms instead of the engine's own.
    """
    found = forms if forms is not None else (*_FORMS, *attention_forms(device))
    kinds = dtypes_of(device)
    return [_checked(form, device, kind) for form in found for kind in kinds]


def _checked(form: Form, device: str, kind: torch.dtype) -> Checked:
    half_on_cpu = torch.device(device).type == "cpu" and kind != torch.float32
    about = {
        "form": form.name,
        "where": form.where,
        "device": device,
        "dtype": str(kind).removeprefix("torch."),
        "limit": LIMITS[kind],
        "used": form.reliable or not half_on_cpu,
    }
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(shape, generator=generator) for shape in form.shapes]
    # Rounded first, so that both get the same numbers.
    given = [tensor.to(kind) for tensor in given]
    try:
        actual = _results(form, [tensor.to(device) for tensor in given])
    except Exception as error:
        return Checked(error=float("inf"), refusal=type(error).__name__, **about)  # type: ignore[arg-type]
    # On the host, which supports float64.
    expected = _results(form, [tensor.to(_FINER.get(kind, torch.float32)) for tensor in given])
    return Checked(error=max(map(_error, actual, expected)), **about)  # type: ignore[arg-type]


def _results(form: Form, given: list[Tensor]) -> list[Tensor]:
    """Returns the outputs of a form, or the gradients of all its inputs."""
    if not form.trained:
        with torch.no_grad():
            return [form.run(*given)]
    leaves = [tensor.clone().requires_grad_() for tensor in given]
    out = form.run(*leaves)
    out.backward(torch.linspace(-1, 1, out.numel(), device=out.device).view_as(out).to(out.dtype))
    return [leaf.grad for leaf in leaves if leaf.grad is not None]


def _error(actual: Tensor, expected: Tensor) -> float:
    difference = actual.detach().cpu().double() - expected.detach().cpu().double()
    scale = expected.detach().double().square().mean().sqrt().clamp(min=1e-12)
    error = float(difference.square().mean().sqrt() / scale)
    return error if error == error else float("inf")
