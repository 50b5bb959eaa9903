"""Random weights drawn on their device: no copy on the host, and no other dtype in between.

The large preset is 38 GB in bfloat16 and twice that in float32 on the host. Here a model is built
without values, and each tensor is drawn on its device in its own dtype, so that memory never
contains more than the model.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from flashtalk.errors import WeightsError
from flashtalk.models.checkpoint.build import HasBuffers

ModelT = TypeVar("ModelT", bound=nn.Module)
_GAINS = ("weight", "gamma")
_OTHER_STD = 0.02
_STATISTICS = {"latents_mean": 0.0, "latents_std": 1.0}
"""Buffers that a weight file contains, of the LTX VAE: no change of the latents."""


def drawn(
    factory: Callable[[], ModelT], device: torch.device, dtype: torch.dtype, seed: int
) -> ModelT:
    """Returns a model with activations near 1: weights scaled by fan-in, gains 1, biases 0.

    Args:
        factory: creates the model, e.g. ``lambda: DiT(config)``.
        device: of the model.
        dtype: of its weights.
        seed: equal seeds give equal bits on the same kind of device; a tensor depends only on the
            seed and its own name.

    Returns:
        The model, in evaluation mode, without gradients.

    Raises:
        WeightsError: the model has buffers that it cannot compute itself.
    """
    with torch.device("meta"):
        model = factory()
    buffers = {name for name, _ in model.named_buffers()}
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if kept := (buffers & shapes.keys()) - _STATISTICS.keys():
        raise WeightsError(f"{type(model).__name__}: no random value for {', '.join(sorted(kept))}")
    weights = {name: _drawn(name, shape, device, dtype, seed) for name, shape in shapes.items()}
    model.load_state_dict(weights, strict=True, assign=True)
    if isinstance(model, HasBuffers):
        model.reset_buffers()
    if valueless := [name for name, buffer in model.named_buffers() if buffer.is_meta]:
        raise WeightsError(f"{type(model).__name__}: no value for {', '.join(valueless)}")
    return model.eval().requires_grad_(False)


def _drawn(
    name: str, shape: torch.Size, device: torch.device, dtype: torch.dtype, seed: int
) -> Tensor:
    tensor = torch.empty(shape, device=device, dtype=dtype)
    kind = name.rpartition(".")[2]
    outputs = shape[0] if shape else 1
    if kind == "bias":
        return tensor.zero_()
    if (value := _STATISTICS.get(name)) is not None:
        return tensor.fill_(value)
    if kind in _GAINS and tensor.numel() == outputs:  # [C] or [C, 1, 1, 1]
        return tensor.fill_(1)
    fan_in = tensor.numel() // outputs
    std = fan_in**-0.5 if fan_in > 1 else _OTHER_STD
    generator = torch.Generator(device).manual_seed(seed ^ zlib.crc32(name.encode()))
    return tensor.normal_(std=std, generator=generator)


class StandInTokens(nn.Module):
    """Random tokens in place of an encoder, for speed measurements that do not depend on it.

    Args:
        count, width: of the tokens.
        device, dtype, seed: as in ``drawn``.
    """

    def __init__(
        self, count: int, width: int, device: torch.device, dtype: torch.dtype, seed: int
    ) -> None:
        super().__init__()
        shape = torch.Size((1, count, width))
        tokens = _drawn("tokens", shape, device, dtype, seed) * (count * width) ** 0.5
        self.tokens_1ND = nn.Parameter(tokens, requires_grad=False)

    def forward(self, *_: Tensor) -> Tensor:
        """Returns [1, count, width] for any input."""
        return self.tokens_1ND
