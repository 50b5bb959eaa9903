"""Image tokens against the published tower's own numbers, and what must hold for any."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPVisionModel

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import save_config
from flashtalk.models.clip import ClipConfig, ClipVision
from flashtalk.models.clip.model import preprocess
from flashtalk.models.clip.weights import (
    UNUSED_PREFIXES,
    convert_published,
    load_config,
    published_shapes,
    to_published,
)
from tests.fakes.transformers_models import clip_config
from tests.tolerances import PUBLISHED, assert_rounded

GOLDENS = Path(__file__).parents[2] / "goldens"

Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_file(GOLDENS / "clip_tiny.safetensors")


@pytest.fixture(scope="module")
def tower(golden: Golden) -> ClipVision:
    values = json.loads((GOLDENS / "clip_tiny.json").read_text())["config"]
    config = ClipConfig(
        image_size=values["image_size"],
        patch_size=values["patch_size"],
        width=values["vision_dim"],
        layers=values["vision_layers"],
        heads=values["vision_heads"],
        mlp_ratio=values["vision_mlp_ratio"],
    )
    state = {k.removeprefix("state."): v for k, v in golden.items() if k.startswith("state.")}
    model = ClipVision(config).eval().requires_grad_(False)
    model.load_state_dict(convert_published(state), strict=True)
    return model


@pytest.fixture
def tiny() -> ClipVision:
    return ClipVision(ClipConfig.tiny()).eval()


def image_of(golden: Golden, case: str) -> Tensor:
    return golden[f"{case}.in_q8"][:, :, 0].float() / 64


@pytest.mark.parametrize("case", ["case0", "case1", "case2"])
def test_tokens_match_the_published_tower(tower: ClipVision, golden: Golden, case: str) -> None:
    tokens_BND = tower(image_of(golden, case))
    torch.testing.assert_close(tokens_BND, golden[f"{case}.out"], atol=PUBLISHED, rtol=0)


def test_preprocessing_matches(golden: Golden) -> None:
    rows = preprocess(image_of(golden, "case0"), 224)[:, :, ::16]
    torch.testing.assert_close(rows, golden["case0.tap.preprocessed"], atol=PUBLISHED, rtol=0)


def test_tokens_are_those_of_transformers() -> None:
    config = ClipConfig.tiny()
    library: nn.Module = CLIPVisionModel(clip_config(config))
    library.eval()
    tower = ClipVision(config).eval()
    state = library.state_dict()
    # The norm above the last block is not ours.
    assert state.keys() - tower.state_dict().keys() == {
        "post_layernorm.weight",
        "post_layernorm.bias",
    }
    tower.load_state_dict({name: state[name] for name in tower.state_dict()})
    image_BCHW = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        pixels = preprocess(image_BCHW, config.image_size)
        expected = library(pixel_values=pixels).last_hidden_state
        actual = tower(image_BCHW)
    assert_rounded(actual, expected)


def test_initial_weights_are_spread_as_in_transformers() -> None:
    library = CLIPVisionModel(clip_config(ClipConfig.tiny())).state_dict()
    for name, weight in ClipVision(ClipConfig.tiny()).state_dict().items():
        # The standard error of a deviation is 1 / sqrt(2 n): five of both sides.
        within = 5 / weight.numel() ** 0.5 * float(library[name].std())
        assert float(weight.std()) == pytest.approx(float(library[name].std()), abs=within), name


def test_a_batch_equals_its_rows(tiny: ClipVision) -> None:
    image_BCHW = torch.rand(3, 3, 40, 90) * 2 - 1
    with torch.no_grad():
        together = tiny(image_BCHW)
        alone = torch.cat([tiny(image[None]) for image in image_BCHW])
    assert together.shape == (3, tiny.config.tokens, 128)
    assert tiny.config.tokens == 17
    assert_rounded(together, alone)


def test_every_parameter_learns(tiny: ClipVision) -> None:
    tiny.train()(torch.rand(2, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tiny.parameters())


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 4, 8, 8), (1, 3, 0, 8)])
def test_anything_but_colour_images_is_refused(tiny: ClipVision, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="image"):
        tiny(torch.zeros(shape))


def test_names_and_shapes_of_the_14b_preset_equal_the_manifest() -> None:
    tensors = json.loads((GOLDENS / "manifest_clip.json").read_text())["tensors"]
    used = {
        name: tuple(entry["shape"])
        for name, entry in tensors.items()
        if not name.startswith(UNUSED_PREFIXES)
    }
    assert published_shapes(ClipConfig.flashtalk_14b()) == used
    visual = {name for name in tensors if name.startswith("visual.")}
    assert visual - used.keys() == {
        "visual.head",
        "visual.post_norm.weight",
        "visual.post_norm.bias",
    }


def test_only_the_last_block_of_a_file_is_left_out(tiny: ClipVision) -> None:
    ours = tiny.state_dict()
    published = to_published(ours)
    extra = {"textual.norm.weight": torch.zeros(1), "log_scale": torch.zeros(())}
    back = convert_published(published | extra)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], ours[name]) for name in ours)
    assert sum(".norm1.weight" in name for name in published) == tiny.config.layers


def test_unknown_names_reach_the_loader(tiny: ClipVision) -> None:
    published = to_published(tiny.state_dict()) | {"visual.transformer.0.attn.gate": torch.zeros(1)}
    strange = convert_published(published).keys() - tiny.state_dict().keys()
    assert strange == {"encoder.layers.0.attn.gate"}


@pytest.mark.parametrize("config", [ClipConfig.tiny(), ClipConfig.flashtalk_14b()])
def test_config_survives_its_file(config: ClipConfig, tmp_path: Path) -> None:
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config


@pytest.mark.parametrize(
    "values",
    [{"colour": 1}, {"width": 100, "heads": 3}, {"layers": 1}, {"patch_size": 15}, {"width": "x"}],
)
def test_a_config_of_something_else_is_one_error(values: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_config(tmp_path)
