"""Noise keyed by (seed, chunk, step)."""

import itertools

import pytest
import torch

from flashtalk.diffusion.noise import chunk_noise
from flashtalk.errors import InputError

SHAPE = (1, 16, 9, 8, 8)


def test_the_same_key_gives_the_same_bits_and_leaves_global_generators_alone() -> None:
    before = torch.get_rng_state()
    first = chunk_noise(7, 3, 2, SHAPE)
    torch.manual_seed(123)
    assert torch.equal(chunk_noise(7, 3, 2, SHAPE), first)
    torch.set_rng_state(before)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.dtype == torch.float32
    assert first.shape == SHAPE


def test_any_change_of_the_key_changes_every_number_nearly() -> None:
    keys = [
        (0, 0, 0),
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (2**64 - 1, 2**32 - 1, 2**32 - 1),
        (1, 1, 1),
    ]
    draws = [chunk_noise(*key, SHAPE) for key in keys]
    for a, b in itertools.combinations(draws, 2):
        assert (a == b).float().mean() < 0.001
        correlation = torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1]
        assert correlation.abs() < 0.05


def test_it_is_standard_normal() -> None:
    noise = torch.stack([chunk_noise(5, chunk, 0, SHAPE) for chunk in range(20)]).double()
    assert noise.mean().abs() < 0.01
    assert abs(noise.std() - 1) < 0.01
    for bound, share in ((1.0, 0.6827), (2.0, 0.9545), (3.0, 0.9973)):
        assert abs((noise.abs() < bound).double().mean() - share) < 0.005
    assert abs((noise**4).mean() - 3) < 0.1


@pytest.mark.parametrize(
    ("key", "field"),
    [((-1, 0, 0), "seed"), ((2**64, 0, 0), "seed"), ((0, 2**32, 0), "chunk"), ((0, 0, -1), "step")],
)
def test_keys_out_of_range_are_refused(key: tuple[int, int, int], field: str) -> None:
    with pytest.raises(InputError, match=field):
        chunk_noise(*key, SHAPE)
