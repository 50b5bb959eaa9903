"""The seams for spatial slicing: two half pictures that exchange borders equal the whole one.

The halves run in two threads and meet at every seam; what crosses is one row or column of
neighbouring pixels per convolution, and the keys and values of the middle attention.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.models.vae import VAEConfig, VideoVAE
from flashtalk.models.vae.layers import Margins
from tests.patience import patient
from tests.tolerances import assert_rounded

CONFIGS = {
    "published": VAEConfig(dim=8, num_res_blocks=1),
    "tiny": VAEConfig.tiny(),
}
LEFT, RIGHT = 0, 1


class Meeting:
    """Hands each of two threads what the other one brought."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=patient(60))
        self.brought: list[Tensor | None] = [None, None]

    def swap(self, side: int, tensor: Tensor) -> Tensor:
        self.brought[side] = tensor
        self.barrier.wait()
        other = self.brought[1 - side]
        self.barrier.wait()
        assert other is not None
        return other


def margins_of(side: int, meeting: Meeting) -> Callable[[Tensor, Margins], Tensor]:
    def margins(x: Tensor, wanted: Margins) -> Tensor:
        left, right, top, bottom = wanted
        mine = x[..., x.shape[-1] - left :] if side == LEFT else x[..., :right]
        theirs = meeting.swap(side, mine)
        x = F.pad(x, (left if side == LEFT else 0, right if side == RIGHT else 0, top, bottom))
        if theirs.shape[-1] == 0:
            return x
        theirs = F.pad(theirs, (0, 0, top, bottom))
        return torch.cat((x, theirs) if side == LEFT else (theirs, x), dim=-1)

    return margins


def sliced(config: VAEConfig, weights: dict[str, Tensor], side: int, meeting: Meeting) -> VideoVAE:
    model = VideoVAE(config).eval().requires_grad_(False)
    model.load_state_dict(weights)
    for module in model.modules():
        if hasattr(module, "margins"):
            module.margins = margins_of(side, meeting)  # type: ignore[assignment]
        if hasattr(module, "whole_frame"):
            module.whole_frame = lambda x: torch.cat((x, meeting.swap(side, x)), dim=2)  # type: ignore[assignment]
    return model


def in_halves(config: VAEConfig, weights: dict[str, Tensor], x: Tensor, call: str) -> Tensor:
    meeting = Meeting()

    def run(side: int) -> Tensor:
        with torch.no_grad():
            model = sliced(config, weights, side, meeting)
            half: Tensor = getattr(model, call)(x.chunk(2, dim=-1)[side].contiguous())
            return half

    with ThreadPoolExecutor(2) as pool:
        return torch.cat(list(pool.map(run, (LEFT, RIGHT))), dim=-1)


@pytest.mark.parametrize("name", CONFIGS)
def test_two_halves_that_exchange_borders_equal_the_whole(name: str) -> None:
    torch.manual_seed(5)
    config = CONFIGS[name]
    model = VideoVAE(config).eval().requires_grad_(False)
    for weight in model.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.05)
    weights = model.state_dict()
    video = torch.rand(1, 3, 9, 32, 64) * 2 - 1
    z = model.encode(video)
    assert_rounded(in_halves(config, weights, video, "encode"), z)
    whole = model.decode(z)
    assert_rounded(in_halves(config, weights, z, "decode"), whole)


def test_half_a_picture_alone_is_not_the_whole() -> None:
    """What the exchange is for: without it the seam shows."""
    torch.manual_seed(5)
    model = VideoVAE(CONFIGS["published"]).eval().requires_grad_(False)
    z = torch.randn(1, 16, 2, 4, 8)
    alone = torch.cat([model.decode(half) for half in z.chunk(2, dim=-1)], dim=-1)
    assert (alone - model.decode(z)).abs().max() > 1e-2
