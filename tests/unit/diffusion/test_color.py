"""Colour correction: the published numbers (tests/goldens/color) and its properties."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flashtalk.diffusion.color import ReferenceColor, lab_from_rgb, match_color, rgb_from_lab
from flashtalk.errors import InputError
from tests.tolerances import PUBLISHED

GOLDENS = Path(__file__).parents[2] / "goldens"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDENS / "color.safetensors")


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_frames_beyond_the_range_are_not_clamped_first(strength: float) -> None:
    """The LTX decoder of FlashHead Lite makes them."""
    beyond = load_file(GOLDENS / "flashhead" / "color.safetensors")
    assert beyond["in.source"].abs().max() > 3
    out = match_color(beyond["in.source"], ReferenceColor.of(beyond["in.reference"]), strength)
    torch.testing.assert_close(out, beyond[f"out.strength_{strength}"], atol=PUBLISHED, rtol=0)
    lab = lab_from_rgb(beyond["in.source"])
    torch.testing.assert_close(lab.movedim(1, -1), beyond["tap.source_lab"], atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_transfer_matches_the_published_one(golden: dict[str, Tensor], strength: float) -> None:
    out = match_color(golden["in.source"], ReferenceColor.of(golden["in.reference"]), strength)
    torch.testing.assert_close(out, golden[f"out.strength_{strength}"], atol=PUBLISHED, rtol=0)


def test_lab_matches_the_published_one_and_returns(golden: dict[str, Tensor]) -> None:
    lab = lab_from_rgb(golden["in.source"])
    torch.testing.assert_close(lab.movedim(1, -1), golden["tap.source_lab"], atol=PUBLISHED, rtol=0)
    torch.testing.assert_close(rgb_from_lab(lab), golden["in.source"], atol=1e-5, rtol=0)


def picture(frames: int, spread: float = 0.3) -> Tensor:
    return (torch.randn(1, 3, frames, 16, 12) * spread).clamp(-0.8, 0.8)


def test_the_result_has_the_statistics_of_the_reference() -> None:
    portrait = picture(1, 0.2)
    out = match_color(picture(3), ReferenceColor.of(portrait))
    ours, theirs = lab_from_rgb(out).flatten(3), lab_from_rgb(portrait).flatten(3)
    torch.testing.assert_close(ours.mean(-1), theirs.mean(-1).expand(1, 3, 3), atol=1.0, rtol=0)
    torch.testing.assert_close(
        ours.std(-1, correction=0),
        theirs.std(-1, correction=0).expand(1, 3, 3),
        atol=1.0,
        rtol=0,
    )


def test_the_portrait_itself_and_strength_zero_change_nothing() -> None:
    portrait = picture(1)
    reference = ReferenceColor.of(portrait)
    torch.testing.assert_close(match_color(portrait, reference), portrait, atol=1e-4, rtol=0)
    video = picture(2)
    assert match_color(video, reference, 0.0) is video


def test_frames_are_corrected_one_by_one() -> None:
    video, reference = picture(3), ReferenceColor.of(picture(1))
    whole = match_color(video, reference)
    for frame in range(3):
        alone = match_color(video[:, :, frame : frame + 1], reference)
        torch.testing.assert_close(whole[:, :, frame : frame + 1], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("level", [-1.0, -0.3, 0.77, 1.0])
def test_flat_frames_become_the_mean_colour_without_noise(level: float) -> None:
    out = match_color(torch.full((1, 3, 1, 16, 12), level), ReferenceColor.of(picture(1)))
    assert torch.isfinite(out).all()
    assert out.flatten(3).std(-1).max() < 1e-4


def test_half_precision_video_keeps_its_dtype() -> None:
    reference = ReferenceColor.of(picture(1).bfloat16())
    assert match_color(picture(2).bfloat16(), reference).dtype == torch.bfloat16


def test_bad_arguments_are_named() -> None:
    reference = ReferenceColor.of(picture(1)[:, :, 0])
    with pytest.raises(InputError, match="strength"):
        match_color(picture(1), reference, 1.5)
    with pytest.raises(InputError, match="video"):
        match_color(torch.zeros(1, 4, 1, 8, 8), reference)
    with pytest.raises(InputError, match="portrait"):
        ReferenceColor.of(picture(2))
