"""The memory plan against hand figures of the training specification (2.8)."""

from __future__ import annotations

import dataclasses
import io

import pytest
import torch
from rich.console import Console

from flashtalk.errors import InputError
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT
from training.core.memory_plan import (
    GIB,
    ActivationSize,
    MemoryPlan,
    NetworkSize,
    plan_memory,
)
from training.memory import main

DEVICE = 96 * 10**9


def plan(ranks: int) -> MemoryPlan:
    config = DiTConfig.flashtalk_14b()
    with torch.device("meta"):
        dit = DiT(config)
    networks = [
        NetworkSize.of("student", dit, trained=True),
        NetworkSize.of("fake score", dit, trained=True),
        NetworkSize.of("real score", dit, trained=False),
    ]
    tokens = 9 * 45 * 26
    activations = ActivationSize(tokens, 1, config.dim, config.ffn_dim, config.num_layers)
    return plan_memory(networks, activations, ranks=ranks, device_bytes=DEVICE)


def test_three_networks_fit_32_devices_of_96_gigabytes() -> None:
    made = plan(32)
    made.check()
    rows = dict(made.rows)
    states = sum(size for name, size in rows.items() if "Adam" in name)
    # 19e9 parameters x 16 bytes x 2 networks / 32.
    assert states / 1e9 == pytest.approx(19, rel=0.08)
    assert rows["real score: frozen weights, 1/32"] / 1e9 == pytest.approx(1.2, rel=0.08)
    assert rows["activations of one chunk"] > 4.3e9  # the block inputs alone
    assert made.total < 0.6 * DEVICE


def test_four_devices_do_not_do_and_eight_are_tight() -> None:
    with pytest.raises(InputError, match=r"memory: .* use more ranks"):
        plan(4).check()
    # Hybrid sharding inside a node holds this much.
    assert plan(8).total > 0.9 * DEVICE


def test_a_plan_counts_what_a_process_holds() -> None:
    """Gradients and Adam states of a real step take the bytes that the plan says."""
    config = dataclasses.replace(DiTConfig.tiny(), num_layers=2)
    dit = DiT(config)
    optimizer = torch.optim.AdamW(dit.parameters())
    for parameter in dit.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    held = sum(p.nbytes + (0 if p.grad is None else p.grad.nbytes) for p in dit.parameters())
    held += sum(
        state[key].nbytes for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")
    )
    size = NetworkSize.of("dit", dit, trained=True)
    made = plan_memory(
        [size], ActivationSize(1, 1, 1, 1, 1), ranks=1, device_bytes=GIB, others=[("rest", 7)]
    )
    assert dict(made.rows)["dit: master weights, Adam, gradients, 1/1"] == held
    assert dict(made.rows)["rest"] == 7
    assert not any("gathered" in name for name, _ in made.rows)


def test_the_table_shows_every_row_and_the_sum() -> None:
    text = io.StringIO()
    made = plan(32)
    made.show(Console(file=text, width=120))
    for name, _ in made.rows:
        assert name in text.getvalue()
    assert f"{made.total / GIB:.2f}" in text.getvalue()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 0, "student: master weights, Adam, gradients, 1/32"),
        (["--stage", "1", "--ranks", "8"], 0, "transformer: master weights"),
        (["--ranks", "8"], 1, "does not fit: memory: 97.2 GiB"),
        (["--no-checkpointing"], 1, "activations of one chunk"),
        (["--ranks", "0"], 2, "--ranks: 0: at least 1"),
        (["--size", "large"], 2, "--size: large"),
    ],
)
def test_the_command_says_whether_it_fits(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert said in captured.out.replace("\n", " ") + captured.err
