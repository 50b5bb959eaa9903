"""Forms for a CPU without gradients give what the plain operations give."""

import pytest
import torch
import torch.nn.functional as F

from flashtalk.ops import activation, channel_norm
from flashtalk.ops.activation import gelu_tanh
from flashtalk.ops.channel_norm import channel_norm as normed
from flashtalk.ops.linear import FeedForward, Linear, linear
from flashtalk.ops.norms import layer_norm, modulate, modulated_norm
from tests.tolerances import BFLOAT16_STEP, assert_rounded

DTYPES = [torch.float32, torch.bfloat16]
EPS = 1e-6


def assert_as_exact(found: torch.Tensor, exact: torch.Tensor) -> None:
    """``exact`` in float32, and rounded once if ``found`` is bfloat16."""
    if found.dtype == torch.float32:
        assert_rounded(found, exact)
    else:
        torch.testing.assert_close(found.float(), exact, atol=1e-3, rtol=BFLOAT16_STEP)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activate", [False, True])
@pytest.mark.parametrize("gained", [False, True])
@pytest.mark.parametrize("block", [1, 40, 1 << 18])
def test_the_channel_norm_is_its_definition(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, activate: bool, gained: bool, block: int
) -> None:
    monkeypatch.setattr(channel_norm, "_BLOCK_ELEMENTS", block)
    x, gain = torch.randn(2, 3, 5, 12).to(dtype), torch.randn(12).to(dtype)
    wide = x.float()
    exact = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPS)
    exact = exact * gain.float() if gained else exact
    found = normed(x, gain if gained else None, EPS, activate=activate)
    assert_as_exact(found, F.silu(exact) if activate else exact)


def test_the_channel_norm_has_gradients() -> None:
    x, gain = torch.randn(4, 12, requires_grad=True), torch.randn(12, requires_grad=True)
    torch.autograd.backward(normed(x, gain, EPS, activate=True).square().sum())
    assert x.grad is not None
    assert gain.grad is not None
    with torch.no_grad():
        found = normed(x, gain, EPS, activate=True)
    assert_rounded(found, F.silu(F.rms_norm(x, (12,), gain, EPS)))


@torch.inference_mode()
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", [7, 1 << 17])
def test_gelu_is_its_tanh_form(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, block: int
) -> None:
    monkeypatch.setattr(activation, "_BLOCK_ELEMENTS", block)
    x = torch.cat((torch.linspace(-30, 30, 601), torch.tensor([0.0, 1e4, -1e4]))).to(dtype)
    exact = F.gelu(x.double(), approximate="tanh").float()
    found = gelu_tanh(x)
    assert torch.isfinite(found).all()
    assert_as_exact(found, exact)
    assert_as_exact(gelu_tanh(x.expand(3, -1).t()), exact.expand(3, -1).t())


@torch.inference_mode()
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 15, 16, 130])
@pytest.mark.parametrize("activate", [False, True])
def test_a_product_is_the_same_by_every_kernel(
    dtype: torch.dtype, rows: int, activate: bool
) -> None:
    x, weight = torch.randn(2, rows, 48).to(dtype), (torch.randn(40, 48) / 7).to(dtype)
    bias = torch.randn(40).to(dtype)
    exact = F.linear(x.float(), weight.float(), bias.float())
    exact = F.gelu(exact, approximate="tanh") if activate else exact
    found = linear(x, weight, bias, activate=activate)
    # In bfloat16 the sum may be rounded before the activation.
    atol, rtol = (1e-4, 0.0) if dtype == torch.float32 else (0.02, 2 * BFLOAT16_STEP)
    torch.testing.assert_close(found.float(), exact, atol=atol, rtol=rtol)
    strided = torch.stack((weight, weight), dim=2)[..., 0]
    assert not strided.is_contiguous()
    assert torch.equal(linear(x, strided, bias), F.linear(x, strided, bias))


def test_layers_keep_the_published_names_and_train() -> None:
    layers = FeedForward(8, 16)
    assert sorted(layers.state_dict()) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    x = torch.randn(20, 8)
    state = layers.state_dict()
    inner = F.linear(x, state["0.weight"], state["0.bias"])
    plain = layers[2](F.gelu(inner, approximate="tanh"))
    torch.autograd.backward(layers(x).sum())
    assert all(parameter.grad is not None for parameter in layers.parameters())
    with torch.no_grad():
        assert_rounded(layers(x), plain)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert Linear(8, 8)(x).dtype == torch.bfloat16


@torch.inference_mode()
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_modulated_norm_is_a_norm_then_a_modulation(dtype: torch.dtype, batch: int) -> None:
    x = torch.randn(batch, 9, 24).to(dtype)
    shift, scale = torch.randn(2, batch, 1, 24)
    exact = modulate(layer_norm(x, EPS), shift, scale)
    assert_as_exact(modulated_norm(x, shift, scale, EPS), exact)
