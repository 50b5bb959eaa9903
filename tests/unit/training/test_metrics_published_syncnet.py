"""The published SyncNet: names, shapes, strict loading and the faces that it gets.

The weight file itself is not here; random numbers of its shapes stand for it.
"""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from flashtalk.errors import WeightsError
from training.data.synthtalk.identity import draw_identity
from training.data.synthtalk.renderer import render
from training.data.synthtalk.tracks import TRACK_COLUMNS, TRACK_INDEX
from training.evaluate.probes import Probes
from training.evaluate.syncnet.definition import sync_score
from training.evaluate.syncnet.judge import open_sync_judge
from training.evaluate.syncnet.mfcc import mfcc, windows
from training.evaluate.syncnet.published import ProbedFace, PublishedSyncNet, load_published

# Layer names and weight shapes of SyncNetModel.S (joonson/syncnet_python).
WEIGHTS = {
    "netcnnaud.0": (64, 1, 3, 3),
    "netcnnaud.4": (192, 64, 3, 3),
    "netcnnaud.8": (384, 192, 3, 3),
    "netcnnaud.11": (256, 384, 3, 3),
    "netcnnaud.14": (256, 256, 3, 3),
    "netcnnaud.18": (512, 256, 5, 4),
    "netfcaud.0": (512, 512),
    "netfcaud.3": (1024, 512),
    "netfclip.0": (512, 512),
    "netfclip.3": (1024, 512),
    "netcnnlip.0": (96, 3, 5, 7, 7),
    "netcnnlip.4": (256, 96, 1, 5, 5),
    "netcnnlip.8": (256, 256, 1, 3, 3),
    "netcnnlip.11": (256, 256, 1, 3, 3),
    "netcnnlip.14": (256, 256, 1, 3, 3),
    "netcnnlip.18": (512, 256, 1, 6, 6),
}
NORMS = {
    "netcnnaud": (1, 5, 9, 12, 15, 19),
    "netcnnlip": (1, 5, 9, 12, 15, 19),
    "netfcaud": (1,),
    "netfclip": (1,),
}


def random_file(seed: int = 0) -> "OrderedDict[str, torch.Tensor]":
    """As an old file holds them: no step counters beside the running means."""
    generator = torch.Generator().manual_seed(seed)
    tensors: OrderedDict[str, torch.Tensor] = OrderedDict()
    for name, shape in WEIGHTS.items():
        fan_in = int(np.prod(shape[1:]))
        tensors[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        tensors[f"{name}.bias"] = torch.zeros(shape[0])
    for tower, places in NORMS.items():
        for place in places:
            width = len(tensors[f"{tower}.{place - 1}.bias"])
            for name in ("weight", "running_var"):
                tensors[f"{tower}.{place}.{name}"] = torch.ones(width)
            for name in ("bias", "running_mean"):
                tensors[f"{tower}.{place}.{name}"] = torch.zeros(width)
    return tensors


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("syncnet") / "syncnet_v2.model"
    torch.save(random_file(), path)
    return path


def test_names_and_shapes_are_those_of_the_file(file: Path) -> None:
    net = load_published(file)
    stored = torch.load(file, weights_only=True)
    own = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in stored.items()}
    assert all(torch.equal(own[name], value) for name, value in stored.items())


@pytest.mark.parametrize("spoil", ["missing", "extra", "shape", "text", "pickle"])
def test_anything_but_the_file_is_refused(spoil: str, tmp_path: Path) -> None:
    tensors = random_file()
    path = tmp_path / "other.model"
    if spoil == "missing":
        del tensors["netfclip.3.bias"]
    elif spoil == "extra":
        tensors["netface.0.weight"] = torch.zeros(1)
    elif spoil == "shape":
        tensors["netfcaud.3.weight"] = torch.zeros(512, 512)
    torch.save(PublishedSyncNet() if spoil == "pickle" else tensors, path)
    if spoil == "text":
        path.write_text("not weights")
    with pytest.raises(WeightsError, match=r"other\.model"):
        load_published(path)
    with pytest.raises(WeightsError, match="no SyncNet"):
        load_published(tmp_path / "absent")


def test_both_towers_compute_what_their_layers_say(file: Path) -> None:
    net, stored = load_published(file), random_file()

    def layer(x: torch.Tensor, name: str, **how: Any) -> torch.Tensor:
        convolve: Callable[..., torch.Tensor]
        convolve = F.conv3d if name.startswith("netcnnlip") else F.conv2d
        # The running statistics are 0 and 1: what is left of a norm is its epsilon.
        normed = convolve(x, stored[f"{name}.weight"], **how) / (1 + 1e-5) ** 0.5
        return F.relu(normed)

    def head(x: torch.Tensor, tower: str) -> torch.Tensor:
        hidden = F.linear(x.flatten(1), stored[f"{tower}.0.weight"]) / (1 + 1e-5) ** 0.5
        return F.linear(F.relu(hidden), stored[f"{tower}.3.weight"])

    heard = torch.randn(2, 13, 20)
    x = layer(heard[:, None], "netcnnaud.0", padding=1)
    x = F.max_pool2d(layer(x, "netcnnaud.4", padding=1), (3, 3), (1, 2))
    for place in (8, 11, 14):
        x = layer(x, f"netcnnaud.{place}", padding=1)
    x = layer(F.max_pool2d(x, 3, 2), "netcnnaud.18")
    torch.testing.assert_close(net.embed_speech(heard), head(x, "netfcaud"), rtol=1e-3, atol=1e-4)

    seen = torch.rand(1, 3, 5, 224, 224)
    x = F.max_pool3d(layer(seen, "netcnnlip.0", stride=(1, 2, 2)), (1, 3, 3), (1, 2, 2))
    x = layer(x, "netcnnlip.4", stride=(1, 2, 2), padding=(0, 1, 1))
    x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for place in (8, 11, 14):
        x = layer(x, f"netcnnlip.{place}", padding=(0, 1, 1))
    x = layer(F.max_pool3d(x, (1, 3, 3), (1, 2, 2)), "netcnnlip.18")
    torch.testing.assert_close(net.embed_pictures(seen), head(x, "netfclip"), rtol=1e-3, atol=1e-4)


def moving(frames: int) -> np.ndarray:
    tracks = np.zeros((frames, len(TRACK_COLUMNS)), np.float32)
    tracks[:, TRACK_INDEX["head_scale"]] = 1.0
    tracks[:, TRACK_INDEX["head_x"]] = np.linspace(-0.05, 0.05, frames)
    return tracks


def test_faces_are_cut_large_and_follow_the_head() -> None:
    video = render(draw_identity(5), moving(3), (96, 96))
    faces = ProbedFace(Probes.load())(video)
    assert faces.shape == (3, 224, 224, 3)
    middle = (slice(None), slice(90, 150), slice(70, 154))
    followed = np.abs(np.diff(faces[middle].astype(float), axis=0)).mean()
    fixed = np.abs(np.diff(video[:, 38:64, 30:66].astype(float), axis=0)).mean()
    assert followed < 0.6 * fixed


def test_the_judge_pairs_bgr_faces_with_their_speech(file: Path) -> None:
    judge = open_sync_judge(Probes.load(), file)
    assert judge.is_published
    frames = 9
    video = render(draw_identity(5), moving(frames), (64, 64))
    pcm = np.random.default_rng(0).normal(0, 0.1, 640 * frames).astype(np.float32)
    faces = ProbedFace(Probes.load())(video)[..., ::-1].copy()
    net = load_published(file)
    stacks = torch.from_numpy(faces).permute(3, 0, 1, 2).float()
    with torch.inference_mode():
        seen = torch.cat([net.embed_pictures(stacks[None, :, k : k + 5]) for k in range(4)])
        heard = net.embed_speech(torch.from_numpy(windows(mfcc(pcm), 4)))
    wanted, found = sync_score(seen, heard, zero_padded=True), judge.score(video, pcm)
    assert found.distance == pytest.approx(wanted.distance, rel=1e-4)
    assert found.confidence == pytest.approx(wanted.confidence, rel=1e-3, abs=1e-3)
    assert found.offset_frames == wanted.offset_frames
