"""Muon: equal directions, the right parameters, and a state that can be saved and taken up."""

import pytest
import torch
from torch import Tensor, nn

from training.core.config import OptimizerConfig
from training.core.optimizer import MuonAdamW, build_optimizer, orthogonalised


class Net(nn.Module):
    """A stem, a block with a matrix and a convolution, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(6, 12)
        self.blocks = nn.ModuleList([nn.Linear(12, 12), nn.Conv1d(12, 12, 3, padding=1)])
        self.head = nn.Linear(12, 2)

    def forward(self, x_BD: Tensor) -> Tensor:
        h = self.blocks[0](self.stem(x_BD)).tanh()
        out: Tensor = self.head(h + self.blocks[1](h[:, :, None])[:, :, 0])
        return out


def muon(net: nn.Module) -> MuonAdamW:
    return build_optimizer(OptimizerConfig("muon", lr=1e-2, muon_lr=2e-2), {"net": net})


def step(net: nn.Module, optimizer: MuonAdamW, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    loss = net(torch.randn(8, 6, generator=generator)).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize("shape", [(24, 24), (16, 48), (48, 16)])
def test_every_direction_of_an_update_has_about_the_same_size(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    # Singular values from 1 to 0.1; those of a random square matrix may be as small as they like.
    rank = min(shape)
    left, right = (torch.linalg.qr(torch.randn(size, rank)).Q for size in shape)
    skewed = left @ torch.diag(torch.logspace(0, -1, rank)) @ right.T
    values = torch.linalg.svdvals(orthogonalised(skewed).float())
    assert values.min() > 0.4
    assert values.max() < 1.4


def test_only_matrices_inside_the_blocks_are_orthogonalised() -> None:
    net = Net()
    groups = muon(net).param_groups
    moved = {id(p) for group in groups if group.get("muon") for p in group["params"]}
    names = {name for name, p in net.named_parameters() if id(p) in moved}
    assert names == {"blocks.0.weight", "blocks.1.weight"}
    together = [id(p) for group in groups for p in group["params"]]
    assert sorted(together) == sorted(id(p) for p in net.parameters())


def test_a_saved_state_goes_on_as_if_it_had_not_been_saved() -> None:
    whole = Net()
    optimizer = muon(whole)
    for seed in range(4):
        step(whole, optimizer, seed)

    first = Net()
    before = muon(first)
    for seed in range(2):
        step(first, before, seed)
    second = Net()
    second.load_state_dict(first.state_dict())
    after = muon(second)
    after.load_state_dict(before.state_dict())
    for seed in range(2, 4):
        step(second, after, seed)

    for ours, theirs in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_states_are_created_as_by_an_update_for_parameters_with_a_gradient_alone() -> None:
    net, untouched, updated = Net(), Net(), Net()
    optimizer, real = muon(net), muon(updated)
    step(updated, real, 0)
    for name, p in net.named_parameters():
        p.grad = None if name == "head.bias" else torch.zeros_like(p)
    optimizer.create_states()
    pairs = zip(net.named_parameters(), updated.parameters(), untouched.parameters(), strict=True)
    for (name, p), other, before in pairs:
        wanted = {} if name == "head.bias" else real.state[other]
        assert {k: v.shape for k, v in optimizer.state[p].items()} == {
            k: v.shape for k, v in wanted.items()
        }
        assert p.grad is None
        assert torch.equal(p, before)


def test_it_learns() -> None:
    net = Net()
    optimizer = muon(net)
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(5))
    before = float(net(x).square().mean().detach())
    for seed in range(60):
        step(net, optimizer, seed)
    assert float(net(x).square().mean().detach()) < 0.3 * before
