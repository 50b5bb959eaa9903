"""VBench's networks and Q-Align load from folders; tiny random ones of their kind stand for them.

Nothing here is a score of the literature: only names, shapes, preparation of pictures, refusals.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, ViTConfig, ViTModel

from flashtalk.errors import WeightsError
from training.evaluate.extractors import (
    open_background_features,
    open_interpolator,
    open_subject_features,
)
from training.evaluate.judges import Judges
from training.evaluate.probes import Probes
from training.evaluate.qalign import MISSING, QAlign, open_qalign
from training.evaluate.vbench import linear

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 224,
    "patch_size": 56,
}

# A rater with Q-Align's interface: random weights, and no eye for quality whatever.
RATER = """
import torch
from transformers import PretrainedConfig, PreTrainedModel

class TinyConfig(PretrainedConfig):
    model_type = "tiny_rater"

class TinyRater(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.head = torch.nn.Linear(3, 5)
        self.post_init()

    def score(self, images, task_="quality", input_="image"):
        assert input_ == "image" and task_ in ("quality", "aesthetics")
        pixels = [i.resize((1, 1)).getpixel((0, 0)) for i in images]
        colour = torch.tensor(pixels) / 255
        chances = self.head(colour if task_ == "quality" else 1 - colour).softmax(-1)
        return chances @ torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
"""


def video(frames: int = 4, size_hw: tuple[int, int] = (48, 64)) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (frames, *size_hw, 3), np.uint8)


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dino")
    ViTModel(ViTConfig(**SIZES), add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip")
    config = CLIPVisionConfig(**SIZES, projection_dim=8)
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rater(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("rater")
    (folder / "tiny_rater.py").write_text(RATER)
    names = {"AutoConfig": "tiny_rater.TinyConfig", "AutoModelForCausalLM": "tiny_rater.TinyRater"}
    config = {"model_type": "tiny_rater", "auto_map": names, "architectures": ["TinyRater"]}
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    weights = {"head.weight": torch.randn(5, 3), "head.bias": torch.zeros(5)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_subject_features_are_the_class_token(dino: Path) -> None:
    features = open_subject_features(dino)(video())
    assert features.shape == (4, 16)
    assert features.dtype == np.float32
    square = video(2, (224, 224))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = torch.from_numpy((square / 255 - mean) / deviation).permute(0, 3, 1, 2).float()
    net: torch.nn.Module = ViTModel.from_pretrained(dino, add_pooling_layer=False)
    net.eval()
    with torch.inference_mode():
        wanted = net(pixel_values=pixels).last_hidden_state[:, 0]
    np.testing.assert_allclose(open_subject_features(dino)(square), wanted, atol=1e-4)


def test_background_features_see_the_middle_square(clip: Path) -> None:
    extract = open_background_features(clip)
    wide = video(2, (224, 300))
    assert extract(wide).shape == (2, 8)
    np.testing.assert_allclose(extract(wide), extract(wide[:, :, 38:262]), atol=1e-4)


def test_interpolator_runs_an_exported_program_on_padded_frames(tmp_path: Path) -> None:
    class Mean(torch.nn.Module):
        def forward(
            self, before: torch.Tensor, after: torch.Tensor, time: torch.Tensor
        ) -> torch.Tensor:
            assert before.shape[2] % 16 == 0
            assert before.shape[3] % 16 == 0
            return before * (1 - time) + after * time

    frame = torch.rand(1, 3, 48, 64)
    exported = torch.export.export(Mean(), (frame, frame + 0, torch.full((1, 1, 1, 1), 0.5)))
    torch.export.save(exported, tmp_path / "amt.pt2")
    before, after = video(2, (40, 62))
    between = open_interpolator(tmp_path / "amt.pt2")(before, after)
    assert between.shape == before.shape
    assert np.abs(between.astype(int) - linear(before, after)).max() <= 1


def test_missing_and_foreign_networks_are_named(tmp_path: Path, dino: Path, clip: Path) -> None:
    for opener in (open_subject_features, open_background_features, open_qalign):
        with pytest.raises(WeightsError, match=r"config\.json"):
            opener(tmp_path)
    with pytest.raises(WeightsError, match=r"no weights for|cannot|config"):
        open_background_features(dino)
    with pytest.raises(WeightsError, match="no interpolation"):
        open_interpolator(tmp_path / "absent.pt2")
    (tmp_path / "text.pt2").write_text("nothing")
    with pytest.raises(WeightsError, match=r"text\.pt2"):
        open_interpolator(tmp_path / "text.pt2")


def test_qalign_is_asked_once_a_second_for_both_tasks() -> None:
    class Recorder:
        asked: list[tuple[int, str, str]] = []  # noqa: RUF012

        def score(self, images: list[Image.Image], task_: str, input_: str) -> torch.Tensor:
            self.asked.append((len(images), task_, input_))
            return torch.full((len(images),), 4.0 if task_ == "quality" else 3.0)

    rated = QAlign(Recorder()).rate(video(25 * 9 + 1))
    assert rated == {"ase": 3.0, "iqa": 4.0}
    assert Recorder.asked == [
        (8, "aesthetics", "image"),
        (2, "aesthetics", "image"),
        (8, "quality", "image"),
        (2, "quality", "image"),
    ]


def test_qalign_loads_a_folder_with_its_own_code(rater: Path, dino: Path) -> None:
    rated = open_qalign(rater).rate(video(30))
    assert set(rated) == {"ase", "iqa"}
    assert all(1 < value < 5 for value in rated.values())
    assert rated["ase"] != rated["iqa"]
    with pytest.raises(WeightsError):
        open_qalign(dino)


def test_columns_appear_with_their_networks_alone(dino: Path, clip: Path, rater: Path) -> None:
    probes, mask, pcm = Probes.load(), np.ones((48, 64), bool), np.zeros(640 * 4, np.float32)
    shown, none = video(), Judges()
    measured = probes.measure(shown)
    own = {"id_c", "bg_pixel_c", "motion_linear", "temporal_f"}
    assert set(none.scores(shown, pcm, measured, mask)) == own
    assert none.notes["ASE, IQA"] == MISSING
    assert {"Subject-C", "BG-C", "Motion-S", "Sync-C, Sync-D"} < set(none.notes)
    full = Judges(
        subject=open_subject_features(dino),
        background=open_background_features(clip),
        between=linear,
        rater=open_qalign(rater),
    )
    found = set(full.scores(shown, pcm, measured, mask))
    assert found == own | {"subject_c", "bg_c", "motion_s", "ase", "iqa"}
    assert set(full.notes) == {"Sync-C, Sync-D"}
