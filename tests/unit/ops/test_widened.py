"""bfloat16 products on processors without instructions for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from flashtalk.ops import widened
from flashtalk.ops.attention import attention
from flashtalk.ops.linear import linear
from flashtalk.ops.video_convolution import convolve, convolve_frames
from flashtalk.ops.widened import is_widened
from tests.tolerances import BFLOAT16_STEP

CASES: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "linear": (linear, ((2, 40, 24), (16, 24), (16,))),
    "linear with GELU": (
        lambda x, w, b: linear(x, w, b, activate=True),
        ((2, 40, 24), (16, 24), (16,)),
    ),
    "linear, few rows, no bias": (linear, ((3, 24), (16, 24))),
    "attention": (attention, ((1, 40, 2, 64), (1, 24, 2, 64), (1, 24, 2, 64))),
    "video convolution": (
        lambda x, w, b: convolve(x, w, b, margin=1),
        ((1, 8, 5, 6, 6), (8, 8, 3, 3, 3), (8,)),
    ),
    "video convolution, stride 2": (
        lambda x, w, b: convolve(x, w, b, margin=1, stride_t=2, stride_hw=2),
        ((1, 8, 5, 6, 6), (8, 8, 3, 3, 3), (8,)),
    ),
    "frame convolution": (
        lambda x, w, b: convolve_frames(x, w, b, margin=1),
        ((2, 8, 6, 6), (8, 8, 3, 3), (8,)),
    ),
    "pointwise": (convolve_frames, ((2, 8, 6, 6), (4, 8, 1, 1), (4,))),
}


def draw(shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape).bfloat16() for shape in shapes]


@torch.inference_mode()
@pytest.mark.parametrize("name", CASES)
def test_a_product_is_computed_exactly_and_rounded_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widened, "EMULATES_BF16", True)
    function, shapes = CASES[name]
    tensors = draw(shapes)
    found = function(*tensors)
    exact = function(*[tensor.float() for tensor in tensors])
    assert (found.dtype, exact.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(found, exact.bfloat16())


@torch.inference_mode()
@pytest.mark.parametrize("elements", [1, 24, 100])
@pytest.mark.parametrize("with_bias", [True, False])
def test_a_large_weight_is_widened_in_parts(
    elements: int, with_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widened, "EMULATES_BF16", True)
    monkeypatch.setattr("flashtalk.ops.linear._WIDENED_ELEMENTS", elements)
    x, weight, bias = draw(((2, 40, 24), (17, 24), (17,)))
    given = bias if with_bias else None
    exact = linear(x.float(), weight.float(), bias.float() if with_bias else None)
    found = linear(x, weight, given)
    torch.testing.assert_close(found.float(), exact, atol=1e-3, rtol=BFLOAT16_STEP)


def test_training_and_processors_with_instructions_keep_their_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = torch.zeros(2, dtype=torch.bfloat16)
    for emulates in (True, False):
        monkeypatch.setattr(widened, "EMULATES_BF16", emulates)
        assert not is_widened(x)  # gradients are wanted
        with torch.inference_mode():
            assert is_widened(x) == emulates
            assert not is_widened(x.float())
            assert not is_widened(x.to("meta"))
            with torch.autocast("cpu", torch.bfloat16):
                assert not is_widened(x)
