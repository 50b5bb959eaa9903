"""attention() against its definition, and the choice of its kernel."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.ops import cpu_attention
from flashtalk.ops.attention import Backend, attention, available_backends, choose_backend
from tests.tolerances import assert_rounded

CPU = torch.device("cpu")


def definition(q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor) -> Tensor:
    scores = torch.einsum("bnhd,bmhd->bhnm", q_BNHD, k_BMHD) / q_BNHD.shape[-1] ** 0.5
    return torch.einsum("bhnm,bmhd->bnhd", scores.softmax(-1), v_BMHD)


@pytest.mark.parametrize(("queries", "keys"), [(7, 7), (12, 3), (1, 20)])
def test_attention_is_softmax_of_scaled_products(queries: int, keys: int) -> None:
    q = torch.randn(2, queries, 3, 16)
    k, v = torch.randn(2, 2, keys, 3, 16)
    out = attention(q, k, v)
    torch.testing.assert_close(out, definition(q, k, v), atol=1e-6, rtol=1e-5)
    assert torch.equal(attention(q, k, v, backend="sdpa"), out)


def test_a_cpu_refuses_the_kernels_of_gpus() -> None:
    here = available_backends("cpu")
    assert set(here) <= {"product", "sdpa"}
    q = torch.randn(1, 4, 2, 64, dtype=torch.bfloat16)
    for backend in set(get_args(Backend)) - set(here):
        with pytest.raises(InputError, match=f"backend: {backend}: cannot run.*here: .*sdpa"):
            attention(q, q, q, backend=backend)


@torch.inference_mode()
@pytest.mark.parametrize("backend", available_backends("cpu"))
@pytest.mark.parametrize("shape", [(300, 257, 64), (70, 1100, 32), (5, 3, 8)])
def test_every_kernel_of_a_cpu_agrees(backend: Backend, shape: tuple[int, int, int]) -> None:
    queries, keys, width = shape
    q = torch.randn(2, queries, 3, width)
    k, v = torch.randn(2, 2, keys, 3, width)
    exact = definition(q, k, v)
    assert_rounded(attention(q, k, v, backend=backend), exact)
    half = attention(*(t.bfloat16() for t in (q, k, v)), backend=backend)
    # bfloat16 keeps eight bits, of the inputs and perhaps of the scores.
    torch.testing.assert_close(half.float(), exact, atol=0.05, rtol=0.05)


@torch.inference_mode()
def test_blocks_of_queries_are_all_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = torch.randn(3, 1, 100, 2, 64)
    whole = cpu_attention.product_attention(q, k, v)
    monkeypatch.setattr(cpu_attention, "_BLOCK_SCORES", 700)
    assert_rounded(cpu_attention.product_attention(q, k, v), whole)


@torch.inference_mode()
@pytest.mark.parametrize(("full_width", "kernel"), [(True, "sdpa"), (False, "product")])
def test_float32_goes_by_products_where_the_fused_kernel_has_slow_ones(
    full_width: bool, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_attention, "_MKL_AT_FULL_WIDTH", full_width)
    monkeypatch.setattr(cpu_attention, "onednn_multiplies", lambda dtype: True)
    assert choose_backend(torch.device("cpu"), torch.float32, 128, 1 << 20) == kernel
    assert available_backends("cpu")[0] == kernel


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_automatic_choice_always_fits(dtype: torch.dtype) -> None:
    for head_dim in (8, 30, 128, 512):
        assert choose_backend(CPU, dtype, head_dim) in available_backends(CPU)
        assert choose_backend(CPU, dtype, head_dim, 64) == "sdpa"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_every_kernel_of_a_gpu_agrees() -> None:
    q, k, v = torch.randn(3, 2, 300, 4, 128, device="cuda", dtype=torch.bfloat16)
    exact = definition(q.float(), k.float(), v.float())
    names = available_backends("cuda")
    assert choose_backend(q.device, q.dtype, 128) == names[0]
    for backend in names:
        out = attention(q, k, v, backend=backend)
        torch.testing.assert_close(out.float(), exact, atol=0.02, rtol=0.02, msg=backend)


def test_a_packed_kernel_that_refuses_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch runs below AVX-512 on a processor with half-precision instructions."""
    x, asked = torch.randn(1, 8, 2, 16).bfloat16(), []
    for refuses in (False, True):
        monkeypatch.setattr(cpu_attention, "REFUSES_HALF", refuses)
        with cpu_attention.cpu_attention(x):
            asked.append(torch.backends.cuda.flash_sdp_enabled())
        with cpu_attention.cpu_attention(x.float()):
            assert torch.backends.cuda.flash_sdp_enabled()
        found = attention(x, x, x).float()
        exact = attention(x.float(), x.float(), x.float())
        # bfloat16 keeps eight bits.
        torch.testing.assert_close(found, exact, atol=0.03, rtol=0.03)
    assert asked == [True, False]
