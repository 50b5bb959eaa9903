"""Convolutions that some CPUs compute wrongly in half precision are never asked for there."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from flashtalk.models.clip import ClipConfig
from flashtalk.models.clip.model import ClipVision
from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.model import VideoVAE
from flashtalk.ops import widened
from flashtalk.ops.convolution import convolve_columns, in_float32, is_reliable_in_half
from tests.fakes.called_convolutions import CalledConvolutions
from tests.tolerances import BFLOAT16_STEP

HALF = (torch.bfloat16, torch.float16)


@pytest.mark.parametrize(
    ("reliable", "form"),
    [
        (True, {"in_channels": 96, "out_columns": 52}),
        (True, {"in_channels": 96, "out_columns": 1}),
        (True, {"in_channels": 96, "out_columns": 26, "stride_w": 2}),
        (False, {"in_channels": 96, "out_columns": 1, "stride_w": 2}),
        (False, {"in_channels": 768, "out_columns": 200, "groups": 16}),
        (False, {"in_channels": 1, "out_columns": 200}),
    ],
)
def test_forms_that_were_seen_to_be_wrong_are_known(reliable: bool, form: dict[str, int]) -> None:
    assert is_reliable_in_half(**form) is reliable


@pytest.mark.parametrize("how", ["half", "autocast"])
def test_a_layer_runs_in_float32_and_keeps_its_type(how: str) -> None:
    layer = nn.Conv1d(8, 8, 4, groups=4)
    x_BCN = torch.randn(1, 8, 20)
    if how == "half":
        layer, x_BCN = layer.bfloat16(), x_BCN.bfloat16()
    with CalledConvolutions() as called, torch.autocast("cpu", enabled=how == "autocast"):
        y_BCN = in_float32(layer, x_BCN)
    assert [c.dtype for c in called.seen] == [torch.float32]
    assert y_BCN.dtype == x_BCN.dtype
    with torch.no_grad():
        expected = F.conv1d(x_BCN.float(), layer.weight.float(), layer.bias.float(), groups=4)  # type: ignore[union-attr]
    # Rounded once to the type of x, and no more.
    torch.testing.assert_close(y_BCN, expected.to(x_BCN.dtype), rtol=BFLOAT16_STEP, atol=1e-6)
    y_BCN.sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize(("columns", "kind"), [(1, torch.float32), (2, torch.bfloat16)])
def test_a_strided_convolution_of_one_column_is_no_half_one(
    columns: int, kind: torch.dtype
) -> None:
    x_BCHW = torch.randn(1, 8, 6, 2 * columns + 1).bfloat16()
    weight = torch.randn(8, 8, 3, 3).bfloat16()
    with CalledConvolutions() as called:
        y_BCHW = convolve_columns(F.conv2d, x_BCHW, weight, None, stride_w=2, margin_w=0, stride=2)
    assert [c.dtype for c in called.seen] == [kind]
    assert y_BCHW.shape[-1] == columns
    assert y_BCHW.dtype == torch.bfloat16


@pytest.mark.parametrize("how", ["half", "autocast"])
@pytest.mark.parametrize("width", [8, 16, 32])
def test_no_model_asks_for_an_unreliable_one(
    how: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The VAE at its narrowest and wider, the portrait's encoder; speech has a test of its own."""
    monkeypatch.setattr(widened, "EMULATES_BF16", False)
    vae, clip = VideoVAE(VAEConfig.tiny()).eval(), ClipVision(ClipConfig.tiny()).eval()
    video_BCTHW, portrait_BCHW = torch.randn(1, 3, 5, 16, width), torch.randn(1, 3, 32, 32)
    if how == "half":
        vae, clip = vae.bfloat16(), clip.bfloat16()
        video_BCTHW = video_BCTHW.bfloat16()
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast")
    with CalledConvolutions() as called, torch.no_grad(), autocast:
        vae.decode(vae.encode(video_BCTHW))
        clip(portrait_BCHW)
    half = [c for c in called.seen if c.dtype in HALF]
    assert half
    for found in half:
        assert not found.transposed
        assert is_reliable_in_half(
            found.in_channels, found.out_columns, groups=found.groups, stride_w=found.stride[-1]
        ), found
