"""A run that begins with finished weights, of the same network or of a shallower one."""

import dataclasses
from pathlib import Path

import pytest
import torch

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.model import VideoVAE
from training.tasks.export import save_model
from training.tasks.start import start_from

SHALLOW = dataclasses.replace(VAEConfig.tiny(), dim=16, num_res_blocks=1, decoder_res_blocks=2)
DEEP = dataclasses.replace(SHALLOW, num_res_blocks=2, decoder_res_blocks=4)


def disturbed(config: VAEConfig, seed: int) -> VideoVAE:
    """A network none of whose weights are zero, as after training."""
    torch.manual_seed(seed)
    model = VideoVAE(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    save_model(disturbed(SHALLOW, 0), SHALLOW.to_dict(), tmp_path / "vae", dtype=torch.float16)
    return tmp_path / "vae"


@torch.no_grad()
def test_a_deeper_network_starts_as_the_shallower_one(finished: Path) -> None:
    same, deep = disturbed(SHALLOW, 1), VideoVAE(DEEP).eval()
    assert start_from(same, finished) == []
    added = start_from(deep, finished, may_deepen=True)
    assert added == ["decoder.blocks.2", "decoder.blocks.3", "encoder.blocks.1"]
    video = torch.rand(1, 3, 5, 16, 16) * 2 - 1
    torch.testing.assert_close(deep.encode(video), same.encode(video))
    torch.testing.assert_close(deep.decode(same.encode(video)), same.decode(same.encode(video)))


def test_a_deeper_network_has_to_be_asked_for(finished: Path) -> None:
    with pytest.raises(WeightsError, match="missing"):
        start_from(VideoVAE(DEEP), finished)


def test_another_width_is_refused(finished: Path) -> None:
    wider = VideoVAE(dataclasses.replace(SHALLOW, dim=24))
    with pytest.raises(WeightsError, match="misshapen"):
        start_from(wider, finished, may_deepen=True)


def test_weights_that_are_not_numbers_are_refused(finished: Path) -> None:
    broken = disturbed(SHALLOW, 2)
    with torch.no_grad():
        broken.conv1.weight[0] = float("nan")
    save_model(broken, SHALLOW.to_dict(), finished)
    with pytest.raises(WeightsError, match="finite"):
        start_from(VideoVAE(SHALLOW), finished)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--start-from"):
        start_from(VideoVAE(SHALLOW), tmp_path / "nowhere")
