"""The table of FlashAttention kernels: what is installed, what refuses, what is traced."""

import logging
import sys
import types
from importlib.machinery import ModuleSpec

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.ops import flash_kernels
from flashtalk.ops.flash_kernels import find_kernels, flash_attention, run_kernel
from tests.tolerances import assert_rounded


def sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2)


def refusing(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    raise RuntimeError("heads of this width were not compiled")


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, flash_kernels.Kernel]:
    """An empty table, and nothing refused."""
    kernels: dict[str, flash_kernels.Kernel] = {}
    monkeypatch.setattr(flash_kernels, "KERNELS", kernels)
    monkeypatch.setattr(flash_kernels, "REFUSED", set())
    return kernels


QKV = torch.randn(3, 1, 12, 2, 16)


def test_packages_that_are_there_fill_the_table(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = types.ModuleType("a_good_one")
    good.flash_attn_func = sdpa  # type: ignore[attr-defined]
    good.__spec__ = ModuleSpec("a_good_one", None)
    monkeypatch.setitem(sys.modules, "a_good_one", good)
    old = types.ModuleType("an_old_one")
    old.__spec__ = ModuleSpec("an_old_one", None)
    monkeypatch.setitem(sys.modules, "an_old_one", old)
    with caplog.at_level(logging.WARNING):
        found = find_kernels(
            {"flash3": "a_good_one", "flash2": "an_old_one", "flash4": "not_there.cute"}
        )
    assert found == {"flash3": sdpa}
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "an_old_one is installed but cannot be used"
    ]


def test_the_log_sum_exp_of_some_releases_is_left_out(
    table: dict[str, flash_kernels.Kernel],
) -> None:
    table["flash3"] = lambda q, k, v: (sdpa(q, k, v), torch.zeros(1))
    assert_rounded(run_kernel("flash3", *QKV), sdpa(*QKV))


def test_a_kernel_that_refuses_is_asked_once_and_said_once(
    table: dict[str, flash_kernels.Kernel], caplog: pytest.LogCaptureFixture
) -> None:
    table["flash3"], table["flash2"] = refusing, sdpa
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert_rounded(run_kernel("flash3", *QKV), sdpa(*QKV))
    assert len(caplog.records) == 1
    assert "flash3" in caplog.records[0].message
    assert "not compiled" in caplog.records[0].message


def test_when_all_refuse_torch_computes_it(table: dict[str, flash_kernels.Kernel]) -> None:
    table["flash2"] = refusing
    assert_rounded(run_kernel("flash2", *QKV), sdpa(*QKV))


def test_memory_that_is_used_up_is_no_refusal(table: dict[str, flash_kernels.Kernel]) -> None:
    def full(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("all of it")

    table["flash3"], table["flash2"] = full, sdpa
    with pytest.raises(torch.OutOfMemoryError):
        run_kernel("flash3", *QKV)
    assert not flash_kernels.REFUSED


@torch.inference_mode()
def test_it_is_one_operator_of_one_graph(table: dict[str, flash_kernels.Kernel]) -> None:
    table["flash3"] = sdpa

    def twice(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return flash_attention("flash3", flash_attention("flash3", q, k, v), k, v)

    traced = torch.compile(twice, fullgraph=True, backend="eager")
    assert_rounded(traced(*QKV), twice(*QKV))
