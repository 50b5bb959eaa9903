"""One update of each kind with real networks: who gets a gradient, what each scorer is given."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT
from training.core.draws import SharedDraws
from training.data.batch import Stage2Batch
from training.distill.matching import Matching, MatchingConfig, Prompts
from training.distill.rollout import Exit, ExitOdds
from training.objective.dmd import MotionPolicy
from training.objective.motion_jitter import MotionJitter
from training.objective.velocity import Guidance

CONFIG = dataclasses.replace(
    DiTConfig.tiny(),
    dim=24,
    ffn_dim=24,
    num_heads=2,
    num_layers=1,
    text_dim=8,
    text_len=4,
    audio_blocks=2,
    audio_channels=8,
    clip_dim=8,
    clip_tokens=3,
    intermediate_dim=8,
    output_dim=8,
)
B, K, SIZE = 2, 3, 4


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(seed: int) -> DiT:
    torch.manual_seed(seed)
    dit = DiT(CONFIG)
    torch.nn.init.normal_(dit.head.head.weight, std=0.1)
    return dit.eval()


def batch(*, beginning: bool = False) -> Stage2Batch:
    reference, true = random(B, 16, 9, SIZE, SIZE), random(B, K, 16, 2, SIZE, SIZE, seed=1)
    return Stage2Batch(
        reference,
        random(B, 3, 8),
        random(B, K, 33, 5, 2, 8),
        reference[:, :, :1] if beginning else true[:, 0],
        true,
        np.arange(B),
        torch.full((B,), 1 if beginning else 2),
    )


PROMPTS = Prompts(random(B, 4, 8, seed=2), torch.zeros(B, 4, 8))


class Nets:
    """Three networks, what went into the two scorers, and how often the student was asked."""

    def __init__(self, **fields: Any) -> None:
        self.student, self.fake, self.real = network(0), network(1), network(2)
        self.real.requires_grad_(False)
        config = MatchingConfig(exits=ExitOdds(K), **fields)
        self.matching = Matching(config, self.student, self.fake, self.real, self.next_motion)
        self.seen: dict[str, list[Tensor]] = {"fake": [], "real": []}
        self.handed = 0
        for name, net in (("fake", self.fake), ("real", self.real)):
            net.register_forward_pre_hook(
                lambda _, given, name=name: self.seen[name].append(given[0].detach().clone())
            )

    def next_motion(self, z: Tensor) -> Tensor:
        self.handed += 1
        return z[:, :, -2:].contiguous()

    def losses(self, kind: str, at: Exit, *, beginning: bool = False) -> Any:
        call = getattr(self.matching, f"{kind}_losses")
        draws = SharedDraws(torch.Generator().manual_seed(4))
        return call(batch(beginning=beginning), PROMPTS, at, draws)

    @contextmanager
    def unchanged(self, *names: str) -> Iterator[None]:
        """These networks have no gradients and the weights that they had."""
        before = {n: [p.clone() for p in getattr(self, n).parameters()] for n in names}
        yield
        for name in names:
            parameters = list(getattr(self, name).parameters())
            assert all(p.grad is None for p in parameters)
            assert all(map(torch.equal, before[name], parameters))


def test_the_student_alone_gets_a_gradient_from_its_loss() -> None:
    nets = Nets()
    with nets.unchanged("fake", "real"):
        nets.losses("student", Exit(2, 3))["loss"].backward()
    assert all(p.grad is not None for p in nets.student.head.parameters())
    assert sum(float(p.grad.abs().sum()) for p in nets.student.parameters() if p.grad is not None)


def test_the_fake_score_alone_gets_a_gradient_from_its_own() -> None:
    nets = Nets()
    with nets.unchanged("student", "real"):
        nets.losses("fake", Exit(2, 3))["loss"].backward()
    assert all(p.grad is not None for p in nets.fake.head.parameters())
    assert not nets.seen["real"]


@pytest.mark.parametrize(
    ("guidance", "passes"),
    [(Guidance(1, 1), 1), (Guidance(3, 1), 2), (Guidance(4, 3), 3), (Guidance(1, 3), 3)],
)
def test_the_real_score_costs_one_pass_per_condition(guidance: Guidance, passes: int) -> None:
    nets = Nets(guidance=guidance)
    nets.losses("student", Exit(1, 1))
    assert len(nets.seen["real"]) == passes
    assert len(nets.seen["fake"]) == 1
    first = nets.seen["real"][0]
    assert all(torch.equal(first, x) for x in nets.seen["real"])


def test_both_scorers_look_at_the_same_noisy_latents() -> None:
    nets = Nets(guidance=Guidance(1, 1))
    nets.losses("student", Exit(2, 2))
    assert torch.equal(nets.seen["fake"][0], nets.seen["real"][0])


def test_true_motion_latents_are_for_the_real_score_only() -> None:
    policy = MotionPolicy(source="gt", add_noise=False)
    nets = Nets(guidance=Guidance(1, 1), policy=policy)
    nets.losses("student", Exit(3, 2))
    fake, real = nets.seen["fake"][0], nets.seen["real"][0]
    assert torch.equal(real[:, :, :2], batch().true_motion_BKCMHW[:, 2])
    assert not torch.equal(fake[:, :, :2], real[:, :, :2])
    assert torch.equal(fake[:, :, 2:], real[:, :, 2:])


def test_scorers_judge_a_jittered_chunk_by_the_latents_without_it() -> None:
    policy = MotionPolicy(add_noise=False)
    nets = Nets(guidance=Guidance(1, 1), policy=policy, jitter=MotionJitter(cell=0.5))
    asked: list[Tensor] = []
    nets.student.register_forward_pre_hook(lambda _, given: asked.append(given[0].detach()))
    nets.losses("student", Exit(1, 1))
    motion = batch().motion_BCMHW
    for scorer in ("fake", "real"):
        assert torch.equal(nets.seen[scorer][0][:, :, :2], motion)
    assert float((asked[0][:, :, :2] - motion).abs().min()) > 0


def test_motion_latents_can_be_clean_for_the_real_score_alone() -> None:
    seen = {}
    for noised in (True, False):
        nets = Nets(guidance=Guidance(1, 1), policy=MotionPolicy(teacher_noise=noised))
        nets.losses("student", Exit(1, 1))
        seen[noised] = nets.seen
        assert torch.equal(nets.seen["fake"][0][:, :, 2:], nets.seen["real"][0][:, :, 2:])
    assert torch.equal(seen[False]["real"][0][:, :, :2], batch().motion_BCMHW)
    assert torch.equal(seen[False]["fake"][0], seen[True]["fake"][0])


def test_a_tie_draws_the_students_motion_positions_to_the_real_scores() -> None:
    """And nothing else: what the scores say of the rest is what they said without it."""
    found = {}
    for tie in (0.0, 2.0):
        nets = Nets(guidance=Guidance(1, 1), policy=MotionPolicy(tie=tie))
        predicted: list[Tensor] = []
        nets.student.register_forward_hook(lambda *given, p=predicted: p.append(given[2]))
        losses = nets.losses("student", Exit(1, 2))
        predicted[-1].retain_grad()
        losses["loss"].backward()
        assert predicted[-1].grad is not None
        found[tie] = (float(losses["loss"].detach()), predicted[-1].grad)
    (free, plain), (tied, drawn) = found[0.0], found[2.0]
    assert tied > free
    assert torch.equal(plain[:, :, 2:], drawn[:, :, 2:])
    assert not plain[:, :, :2].any()
    assert drawn[:, :, :2].any()


def test_rows_of_table_3_and_beside_it_are_different_updates() -> None:
    rows = [
        MotionPolicy("gt", add_noise=False),
        MotionPolicy("gt"),
        MotionPolicy(add_noise=False),
        MotionPolicy(),
        MotionPolicy(calc_loss=True),
        MotionPolicy(teacher_noise=False),
        MotionPolicy(tie=1.0),
    ]
    gradients = []
    for policy in rows:
        nets = Nets(policy=policy, guidance=Guidance(1, 1))
        nets.losses("student", Exit(3, 2))["loss"].backward()
        grads = [p.grad.flatten() for p in nets.student.parameters() if p.grad is not None]
        gradients.append(torch.cat(grads))
    for one, other in itertools.combinations(gradients, 2):
        assert not torch.allclose(one, other, rtol=1e-4, atol=0)


def test_a_stream_begins_with_one_latent_of_the_portrait() -> None:
    nets = Nets(policy=MotionPolicy(add_noise=False), guidance=Guidance(1, 1))
    nets.losses("student", Exit(1, 1), beginning=True)
    x = nets.seen["real"][0]
    assert torch.equal(x[:, :, :1], batch().reference_BCFHW[:, :, :1])
    assert not torch.equal(x[:, :, 1:2], batch().true_motion_BKCMHW[:, 0, :, 1:])


@pytest.mark.parametrize("at", [Exit(1, 1), Exit(2, 3), Exit(3, 4)])
def test_an_update_costs_what_its_exit_says(at: Exit) -> None:
    nets, calls = Nets(), []
    nets.student.register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    nets.losses("student", at)
    assert len(calls) == 4 * (at.chunk - 1) + at.step
    assert sum(calls) == 1
    assert nets.handed == at.chunk - 1


def test_scorers_have_a_shift_of_their_own() -> None:
    told: dict[float, dict[str, list[float]]] = {}
    for shift in (1.0, 5.0):
        nets = Nets(guidance=Guidance(1, 1), score_shift=shift)
        told[shift] = {"student": [], "fake": [], "real": []}
        for name, times in told[shift].items():
            getattr(nets, name).register_forward_pre_hook(
                lambda _, given, times=times: times.extend(given[1].tolist())
            )
        for kind in ("student", "fake"):
            nets.losses(kind, Exit(1, 4))
    low, high = told[1.0], told[5.0]
    assert low["student"] == high["student"]
    for name in ("fake", "real"):
        for one, other in zip(low[name], high[name], strict=True):
            assert other == pytest.approx(1000 * 5 * one / (1000 + 4 * one), abs=25), "but clamped"
            assert one < other


def test_scores_that_are_the_same_network_move_nothing() -> None:
    nets = Nets(guidance=Guidance(1, 1))
    nets.fake.load_state_dict(nets.real.state_dict())
    nets.losses("student", Exit(2, 2))["loss"].backward()
    assert (
        max(float(p.grad.abs().max()) for p in nets.student.parameters() if p.grad is not None)
        < 1e-6
    )


def test_the_lag_of_the_fake_score() -> None:
    nets = Nets()
    draws = SharedDraws(torch.Generator().manual_seed(1))
    fake, real = nets.matching.fake_lag(batch(), PROMPTS, Exit(2, 2), draws)
    assert fake != real
    nets.fake.load_state_dict(nets.real.state_dict())
    fake, real = nets.matching.fake_lag(batch(), PROMPTS, Exit(2, 2), draws)
    assert fake == real


def test_speech_and_context_are_read_once_per_chunk_and_change_nothing() -> None:
    exits = [Exit(3, 2), Exit(2, 4)]
    walked = []
    for keys in (True, False):
        nets = Nets()
        nets.matching._keys = keys
        read: list[int] = []
        nets.student.audio_proj.register_forward_pre_hook(lambda *_, r=read: r.append(1))
        draws = SharedDraws(torch.Generator().manual_seed(4))
        at, raw = nets.matching.roll_out_per_sample(batch(), PROMPTS, exits, slice(None), draws)
        assert len(read) == 3 + 1, "every chunk, and the exits"
        walked.append((at.x_BCFHW, raw))
    for one, other in zip(*walked, strict=True):
        torch.testing.assert_close(one, other)


def test_the_last_evaluation_alone_reads_them_with_a_graph() -> None:
    nets = Nets()
    nets.losses("student", Exit(2, 3))["loss"].backward()
    for layer in (nets.student.audio_proj, nets.student.text_embedding, nets.student.img_emb):
        grads = [p.grad for p in layer.parameters()]
        assert sum(float(g.abs().sum()) for g in grads if g is not None) > 0
