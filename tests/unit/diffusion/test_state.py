"""The session's value and the conditioning input."""

import dataclasses

import pytest
import torch
from torch import Tensor

from flashtalk.diffusion.condition import reference_clip, reference_condition
from flashtalk.diffusion.state import DiffusionState
from flashtalk.errors import InputError
from flashtalk.streaming import StreamSpec

SPEC = StreamSpec()


def latents(frames: int) -> Tensor:
    return torch.randn(1, 16, frames, 8, 6)


def test_a_session_starts_with_the_portrait_and_goes_on_with_two_latents() -> None:
    reference = latents(9)
    state = DiffusionState.start(42, reference, SPEC)
    assert (state.seed, state.chunk_index, state.shape) == (42, 0, (1, 16, 9, 8, 6))
    assert torch.equal(state.motion_z, reference[:, :, :1])
    motion = latents(2)
    following = state.advance(motion).advance(motion)
    assert (following.seed, following.chunk_index) == (42, 2)
    assert following.motion_z is motion
    assert state.chunk_index == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize("motion", [latents(1), latents(3), torch.zeros(1, 16, 2, 8, 8)])
def test_motion_of_another_shape_is_refused(motion: Tensor) -> None:
    with pytest.raises(InputError, match="motion latents"):
        DiffusionState.start(0, latents(1), SPEC).advance(motion)


@pytest.mark.parametrize(("chunk", "frames"), [(0, 2), (1, 1), (-1, 2)])
def test_impossible_states_are_refused(chunk: int, frames: int) -> None:
    with pytest.raises(InputError):
        DiffusionState(0, chunk, latents(frames), SPEC)


def test_the_mask_marks_the_reference_slot_only() -> None:
    z = latents(9)
    y = reference_condition(z)
    by_hand = [[1.0] + [0.0] * 8] * 4
    assert y.shape == (1, 20, 9, 8, 6)
    for row in range(8):
        for column in range(6):
            assert y[0, :4, :, row, column].tolist() == by_hand
    assert torch.equal(y[:, 4:], z)


def test_the_reference_clip_is_the_portrait_then_grey() -> None:
    portrait = torch.rand(2, 3, 16, 32) * 2 - 1
    clip = reference_clip(portrait, 33)
    assert clip.shape == (2, 3, 33, 16, 32)
    assert torch.equal(clip[:, :, 0], portrait)
    assert clip[:, :, 1:].abs().max() == 0
    with pytest.raises(InputError, match="portrait"):
        reference_clip(clip, 33)
