"""How much each stage of a chunk has to compute and to move, counted by running it without numbers.

A model is built of tensors that have a shape and no values, and called; every matrix product,
convolution and attention that it asks for is counted. A multiplication and an addition are two
floating-point operations. Norms, activations and rotations are not counted: they are a few
operations per value, and their limit is memory.

Bytes are those that a perfectly fused program could not avoid: every weight is read once, what goes
into a product, a convolution or an attention is read once, what comes out is written once. What
lies between two of them is free, and so are the scores of an attention.

Legend: B batch, T video frames, N samples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT
from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.streaming import StreamSpec

ModelT = TypeVar("ModelT", bound=nn.Module)
_CONVOLUTIONS = frozenset({torch.ops.aten.convolution, torch.ops.aten._convolution})
_PRODUCTS = frozenset({torch.ops.aten.mm, torch.ops.aten.addmm})
"""Of tokens and a weight; other matrix products are of two activations."""
HALF = torch.bfloat16
_RGB = 3


@dataclass(frozen=True)
class Work:
    """Of one call.

    Args:
        matrix_flops, attention_flops, convolution_flops: floating-point operations by what they
            are part of.
        matrix_weight_bytes, convolution_weight_bytes: weights that are read.
        activation_bytes: everything else that is read or written.
    """

    matrix_flops: int = 0
    attention_flops: int = 0
    convolution_flops: int = 0
    matrix_weight_bytes: int = 0
    convolution_weight_bytes: int = 0
    activation_bytes: int = 0

    @property
    def flops(self) -> int:
        """All of them."""
        return self.matrix_flops + self.attention_flops + self.convolution_flops

    @property
    def moved_bytes(self) -> int:
        """All of them."""
        return self.matrix_weight_bytes + self.convolution_weight_bytes + self.activation_bytes

    def __add__(self, other: Work) -> Work:
        """One after the other."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Work(*(mine + theirs for mine, theirs in pairs))

    def in_type(self, dtype: torch.dtype) -> Work:
        """What was counted in bfloat16, in another type."""
        halves = dtype.itemsize / HALF.itemsize
        return dataclasses.replace(
            self,
            matrix_weight_bytes=round(self.matrix_weight_bytes * halves),
            convolution_weight_bytes=round(self.convolution_weight_bytes * halves),
            activation_bytes=round(self.activation_bytes * halves),
        )

    def times(self, count: int) -> Work:
        """So many such calls."""
        return Work(*(count * value for value in dataclasses.astuple(self)))


def count_work(call: Callable[[], object]) -> Work:
    """What a call asks of the device, best of tensors without values (``FakeTensorMode``)."""
    counter = _Counter()
    with torch.no_grad(), counter, _Attention(counter):
        call()
    return counter.work


def dit_step_work(
    config: DiTConfig, size_hw: tuple[int, int], dtype: torch.dtype, batch: int = 1
) -> Work:
    """One evaluation of the transformer; keys and values of text, portrait and speech are there."""
    spec = StreamSpec()
    shape = (batch, config.out_dim, spec.latent_frames, *spec.latent_size(*size_hw))
    with FakeTensorMode(), torch.no_grad():
        dit = _half(lambda: DiT(config))
        context = dit.encode_context(
            torch.empty(batch, config.clip_tokens, config.clip_dim, dtype=HALF),
            torch.empty(batch, config.text_len, config.text_dim, dtype=HALF),
        )
        audio = dit.encode_audio(_windows(config, batch))
        x_BCFHW, t_B = torch.empty(shape), torch.empty(batch)
        y_BCFHW = torch.empty(batch, config.cond_dim, *shape[2:])
        work = count_work(lambda: dit(x_BCFHW, t_B, y_BCFHW, context, audio))
    return work.in_type(dtype)


def dit_speech_work(config: DiTConfig, dtype: torch.dtype, batch: int = 1) -> Work:
    """Keys and values of a chunk's speech in every layer, once per chunk."""
    with FakeTensorMode():
        dit, windows_BTWLD = _half(lambda: DiT(config)), _windows(config, batch)
        return count_work(lambda: dit.encode_audio(windows_BTWLD)).in_type(dtype)


def decode_work(config: VAEConfig, size_hw: tuple[int, int], dtype: torch.dtype) -> Work:
    """A chunk's 9 latents to its 33 frames."""
    spec = StreamSpec()
    shape = (1, config.z_channels, spec.latent_frames, *spec.latent_size(*size_hw))
    with FakeTensorMode():
        vae, z_BCFHW = _half(lambda: VideoVAE(config)), torch.empty(shape, dtype=HALF)
        return count_work(lambda: vae.decode(z_BCFHW)).in_type(dtype)


def encode_work(config: VAEConfig, size_hw: tuple[int, int], dtype: torch.dtype) -> Work:
    """The 5 motion frames to their latents."""
    shape = (1, _RGB, StreamSpec().motion_frames, *size_hw)
    with FakeTensorMode():
        vae, video_BCTHW = _half(lambda: VideoVAE(config)), torch.empty(shape, dtype=HALF)
        return count_work(lambda: vae.encode(video_BCTHW)).in_type(dtype)


def speech_work(config: AudioConfig) -> Work:
    """Features of the newest 8 s of sound, which are float32 whatever the rest is."""
    spec = StreamSpec()
    with FakeTensorMode():
        model = Wav2Vec2Features(config).eval()
        pcm_BN = torch.empty(1, spec.window_samples)
        return count_work(lambda: model(pcm_BN, spec.window_s * spec.fps))


def frames_work(size_hw: tuple[int, int]) -> Work:
    """Anything that reads a chunk's new frames as float32 and writes them again."""
    values = StreamSpec().new_frames * _RGB * math.prod(size_hw)
    return Work(activation_bytes=2 * values * torch.float32.itemsize)


class _Counter(TorchDispatchMode):
    """Adds up what the operators of a call are."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = Work()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry:
            return self._parts(func, args, given)
        result = func(*args, **given)
        flops = flop_registry[packet](*args, **given, out_val=result)
        moved = _bytes(args) + _bytes((result,))
        if packet in _CONVOLUTIONS:
            weight = _bytes(args[1:2])
            self.work += Work(convolution_flops=flops, convolution_weight_bytes=weight,
                              activation_bytes=moved - weight)  # fmt: skip
        else:
            weight = _bytes(args[-1:]) if packet in _PRODUCTS else 0
            self.work += Work(matrix_flops=flops, matrix_weight_bytes=weight,
                              activation_bytes=moved - weight)  # fmt: skip
        return result

    def _parts(self, func: Any, args: tuple[Any, ...], given: Mapping[str, Any]) -> Any:
        """An operator that may be made of others; those then come here."""
        if func.namespace == "aten":
            with self:
                made = func.decompose(*args, **given)
            if made is not NotImplemented:
                return made
        return func(*args, **given)


class _Attention(TorchFunctionMode):
    """Sees attention before it becomes matrix products with scores between them."""

    def __init__(self, counter: _Counter) -> None:
        super().__init__()
        self._counter = counter

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **given)
        q, k, v = (*args, *(given[name] for name in ("query", "key", "value") if name in given))[:3]
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        self._counter.work += Work(
            attention_flops=sdpa_flop_count(_four(q), _four(k), _four(v)),
            activation_bytes=_bytes((q, k, v, out)),
        )
        return out


def _four(x: Tensor) -> tuple[int, int, int, int]:
    """Batch, heads, tokens, width."""
    shape = (1, 1, *x.shape)
    return math.prod(shape[:-3]), shape[-3], shape[-2], shape[-1]


def _bytes(values: Sequence[object]) -> int:
    return sum(
        value.numel() * value.element_size() for value in values if isinstance(value, Tensor)
    )


def _windows(config: DiTConfig, batch: int) -> Tensor:
    frames = StreamSpec().chunk_frames
    return torch.empty(
        batch, frames, config.audio_window, config.audio_blocks, config.audio_channels, dtype=HALF
    )


def _half(factory: Callable[[], ModelT]) -> ModelT:
    """Counted in bfloat16: in float32 a CPU's convolutions are taken to pieces."""
    with torch.device("meta"):
        model = factory()
    weights = {name: torch.empty(w.shape, dtype=HALF) for name, w in model.state_dict().items()}
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)
