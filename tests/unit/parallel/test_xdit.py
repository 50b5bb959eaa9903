"""The xDiT backend where it cannot run: one clear sentence, and nothing half done.

Its kernels need CUDA; here the way in and the checks before it are tested, not the kernels.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from flashtalk.errors import InputError
from flashtalk.models.dit import DiT, DiTConfig
from flashtalk.models.transformer.token_share import WholeSequence
from flashtalk.ops.token_slice import TokenSlice
from flashtalk.parallel import Layout, Mesh, apply
from flashtalk.parallel.mesh import RankGroup, Traffic

SMALL = dataclasses.replace(DiTConfig.tiny(), dim=48, ffn_dim=64, num_heads=2, num_layers=1)


def mesh() -> Mesh:
    """Rank 0 of two that never speak."""
    both = RankGroup(0, 2, None, Traffic())
    return Mesh(Layout(2, 1), 0, both, both, RankGroup(0, 1, None, both.traffic))


def test_a_cpu_refuses_it_and_names_the_other_backend() -> None:
    dit = DiT(SMALL)
    with pytest.raises(InputError, match="backend: xfuser: requires a CUDA device; backend torch"):
        apply(dit, mesh(), backend="xfuser")
    assert isinstance(dit.share, WholeSequence)
    assert "xfuser" not in sys.modules


@pytest.mark.parametrize(
    "error",
    [ModuleNotFoundError("No module named 'triton'"), NotImplementedError("No Accelerators")],
)
def test_packages_that_do_not_fit_are_named_with_their_versions(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> ModuleType:
        raise error

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(InputError) as refused:
        apply(DiT(SMALL), mesh(), backend="xfuser")
    assert "xfuser (not installed) and yunchang (not installed)" in str(refused.value)
    assert str(error) in str(refused.value)


def test_uneven_tokens_are_refused_because_padding_would_be_attended_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[dict[str, Any]] = []

    def module(name: str) -> Any:
        return SimpleNamespace(
            xFuserLongContextAttention=lambda: lambda _, query, key, value: query,
            init_distributed_environment=lambda **given: calls.append(given),
            initialize_model_parallel=lambda **given: calls.append(given),
        )

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib, "import_module", module)
    dit = DiT(SMALL)
    apply(dit, mesh(), backend="xfuser")
    assert calls == [
        {"rank": 0, "world_size": 2},
        {"sequence_parallel_degree": 2, "ring_degree": 1, "ulysses_degree": 2},
    ]
    q = torch.randn(1, 3, 2, 24)
    core = dit._blocks()[0].self_attn.core
    assert core(q, q, q, TokenSlice(6, 0, 3)) is q
    with pytest.raises(InputError, match="tokens: 5: must be a multiple of the 2 ranks"):
        core(q, q, q, TokenSlice(5, 0, 3))
