"""Every form of the 3D convolution gives the definition, at every stride."""

import pytest
import torch
import torch.nn.functional as F

from flashtalk.ops import video_convolution
from flashtalk.ops.video_convolution import convolve
from tests.tolerances import assert_rounded


@torch.inference_mode()
@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("frames", [3, 6])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("stride_t", "stride_hw"), [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("margin", [0, 1])
def test_a_convolution_is_its_definition(
    onednn: bool,
    frames: int,
    batch: int,
    stride_t: int,
    stride_hw: int,
    margin: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not onednn:  # then one 2D convolution per temporal tap
        monkeypatch.setattr(video_convolution, "takes_onednn", lambda x: False)
    x, weight, bias = (
        torch.randn(batch, 4, frames, 7, 6),
        torch.randn(5, 4, 3, 3, 3),
        torch.randn(5),
    )
    exact = F.conv3d(
        x.double(),
        weight.double(),
        bias.double(),
        stride=(stride_t, stride_hw, stride_hw),
        padding=(0, margin, margin),
    ).float()
    found = convolve(x, weight, bias, margin=margin, stride_t=stride_t, stride_hw=stride_hw)
    assert_rounded(found, exact)
