"""Builds a model from a state dict: strict names and shapes, one copy of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from flashtalk.errors import WeightsError
from flashtalk.models.checkpoint.merged_state import shape_of
from flashtalk.models.checkpoint.read import some_of

ModelT = TypeVar("ModelT", bound=nn.Module)

_FILLS = frozenset(
    {
        torch.Tensor.normal_,
        torch.Tensor.uniform_,
        nn.init.normal_,
        nn.init.uniform_,
        nn.init.kaiming_uniform_,
    }
)


class _Unfilled(TorchFunctionMode):
    """Skips initial weights: meta tensors have no values, and torch (2.13) would import its
    compiler to initialise them, which takes more than a second per process."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func in _FILLS:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


@runtime_checkable
class HasBuffers(Protocol):
    """A model with buffers that are not in checkpoints."""

    def reset_buffers(self) -> None:
        """Computes those buffers, on the device of the weights."""


def build(
    factory: Callable[[], ModelT],
    state: Mapping[str, Tensor],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    ignore: Sequence[str] = (),
    trainable: bool = False,
    source: object = "checkpoint",
) -> ModelT:
    """Creates a model on the meta device and assigns the state's tensors.

    Tensors are converted to their device and type one by one: memory contains one copy of the
    model, which does not refer to the state's files afterwards. A model with buffers that are not
    in checkpoints computes them in a method ``reset_buffers()``.

    Args:
        factory: creates the model, e.g. ``lambda: DiT(config)``.
        state: name -> tensor under the model's own names (each ``weights.py`` converts).
        device: device of the model.
        dtype: type of the floating-point weights; ``None`` keeps the state's.
        ignore: extra names of the state to accept, or prefixes that end in a dot.
        trainable: whether gradients are enabled; the model is in evaluation mode either way.
        source: origin of the state, for errors.

    Returns:
        The model, in evaluation mode.

    Raises:
        WeightsError: names or shapes differ (one message lists all three kinds), or the model has
            buffers without a value.
    """
    model = on_meta(factory)
    check_state(model, state, ignore=ignore, source=source)
    wanted = model.state_dict().keys()
    own = {name: _placed(state[name], torch.device(device), dtype) for name in wanted}
    model.load_state_dict(own, strict=True, assign=True)
    if isinstance(model, HasBuffers):
        model.reset_buffers()
    valueless = [name for name, tensor in _tensors(model).items() if tensor.is_meta]
    if valueless:
        raise WeightsError(
            f"{source}: {type(model).__name__} has no value for {some_of(valueless)}"
        )
    return model.eval().requires_grad_(trainable)


def on_meta(factory: Callable[[], ModelT]) -> ModelT:
    """Creates a model on the meta device: its names and shapes, without values or memory."""
    with torch.device("meta"), _Unfilled():
        return factory()


def check_state(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    ignore: Sequence[str] = (),
    source: object = "checkpoint",
) -> None:
    """Compares a state with a model by names and shapes. Raises WeightsError listing differences.

    Args:
        model: a model on any device, including the meta device.
        state: name -> tensor under the model's own names.
        ignore: extra names of the state to accept, or prefixes that end in a dot.
        source: origin of the state, for errors.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    missing = [name for name in expected if name not in state]
    unexpected = [n for n in state if n not in expected and not _ignored(n, ignore)]
    misshapen = [
        f"{name} {list(shape_of(state, name))} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in state and tuple(shape_of(state, name)) != shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    problems = [f"{len(names)} {kind} ({some_of(names)})" for kind, names in kinds.items() if names]
    if problems:
        raise WeightsError(f"{source} does not fit {type(model).__name__}: {'; '.join(problems)}")


def _ignored(name: str, ignore: Sequence[str]) -> bool:
    return any(
        name == entry or (entry.endswith(".") and name.startswith(entry)) for entry in ignore
    )


def _placed(tensor: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
    # Always a copy: a mapped tensor would break when its file is replaced, and is not aligned.
    # Contiguous, because it may be a slice of a larger tensor.
    return tensor.to(device, kind, copy=True, memory_format=torch.contiguous_format)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
