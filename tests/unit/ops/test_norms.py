"""Norms against their formulas, in every dtype that a model may have."""

import pytest
import torch

from flashtalk.ops.norms import gated_add, layer_norm, modulate, rms_norm

EPS = 1e-6


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
def test_rms_norm_is_over_the_full_width(dtype: torch.dtype, tolerance: float) -> None:
    x, weight = torch.randn(2, 5, 24, dtype=dtype), torch.rand(24, dtype=dtype)
    exact = x.double() / (x.double().square().mean(-1, keepdim=True) + EPS).sqrt() * weight
    out = rms_norm(x, weight, EPS)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), exact, atol=tolerance, rtol=tolerance)


def test_rms_norm_keeps_its_dtype_under_autocast() -> None:
    x = torch.randn(1, 3, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert rms_norm(x, torch.ones(8), EPS).dtype == torch.bfloat16


@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm_has_zero_mean_unit_variance_in_float32(affine: bool) -> None:
    x = (torch.randn(2, 5, 64) * 3 + 7).bfloat16()
    weight, bias = (torch.rand(64), torch.rand(64)) if affine else (None, None)
    out = layer_norm(x, EPS, weight, bias)
    assert out.dtype == torch.float32
    plain = out if weight is None or bias is None else (out - bias) / weight
    torch.testing.assert_close(plain.mean(-1), torch.zeros(2, 5), atol=1e-4, rtol=0)
    torch.testing.assert_close(plain.var(-1, correction=0), torch.ones(2, 5), atol=1e-3, rtol=0)


def test_modulation_and_gate() -> None:
    x, update = torch.randn(2, 2, 5, 8)
    shift, scale, gate = torch.randn(3, 2, 1, 8)
    torch.testing.assert_close(modulate(x, shift, scale), x * (1 + scale) + shift)
    torch.testing.assert_close(gated_add(x, update, gate), x + update * gate)
    assert gated_add(x.bfloat16(), update, gate).dtype == torch.bfloat16
