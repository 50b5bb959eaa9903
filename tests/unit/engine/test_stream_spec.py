"""The stream contract comes with the weights, and nothing after them assumes its numbers."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flashtalk.engine import (
    Architecture,
    FlashHeadArchitecture,
    load_pipeline,
    open_checkpoint,
    talk,
)
from flashtalk.errors import InputError, WeightsError
from flashtalk.presets import PRESETS
from flashtalk.streaming import StreamSpec, parse_size_hw, preset_spec
from tests.fakes.weights import micro_pipeline, write_own

PORTRAIT = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
ARCHITECTURES: dict[str, Callable[[], Architecture | FlashHeadArchitecture]] = {
    "tiny": Architecture.tiny,
    "flashtalk-14b": Architecture.flashtalk_14b,
    "flashhead-1.3b": FlashHeadArchitecture.pro,
    "flashhead-1.3b-lite": FlashHeadArchitecture.lite,
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own(micro_pipeline(), tmp_path_factory.mktemp("own") / "tiny")


def saying(own: Path, folder: Path, stream: object) -> Path:
    """A copy of the weights whose ``pipeline.json`` says that."""
    copied = Path(shutil.copytree(own, folder / "weights"))
    path = copied / "pipeline.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "stream": stream}))
    return copied


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_known_without_weights_is_what_the_models_say(preset: str) -> None:
    spec = preset_spec(preset)
    assert ARCHITECTURES[preset]().spec(spec) == spec


def test_no_such_preset() -> None:
    with pytest.raises(InputError, match="preset: huge"):
        preset_spec("huge")


def test_weights_that_say_nothing_have_the_numbers_of_their_preset(own: Path) -> None:
    assert open_checkpoint("tiny", own).spec == preset_spec("tiny")


def test_weights_say_how_they_cut_time(own: Path, tmp_path: Path) -> None:
    folder = saying(own, tmp_path, {"motion_frames": 9, "window_s": 4})
    expected = dataclasses.replace(preset_spec("tiny"), motion_frames=9, window_s=4)
    assert open_checkpoint("tiny", folder).spec == expected


@pytest.mark.parametrize(
    "stream",
    [
        {"latent_channels": 128},
        {"motion_frames": 8},
        {"motion_frames": "9"},
        {"fps": 0},
        {"chunk_frames": 33.0},
        {"motion_frames": 37},
        {"fps": True},
        [],
        "33",
    ],
)
def test_other_numbers_are_weights_errors(own: Path, tmp_path: Path, stream: object) -> None:
    with pytest.raises(WeightsError, match=r"pipeline\.json.*(stream|frames)"):
        open_checkpoint("tiny", saying(own, tmp_path, stream))


@pytest.mark.parametrize(
    ("stream", "new_frames", "motion_latents"),
    [({"motion_frames": 9}, 24, 3), ({"chunk_frames": 17, "motion_frames": 1}, 16, 1)],
)
def test_a_stream_of_other_chunks(
    own: Path, tmp_path: Path, stream: object, new_frames: int, motion_latents: int
) -> None:
    pipeline = load_pipeline("tiny", saying(own, tmp_path, stream), device="cpu")
    spec, frames = pipeline.spec, 2 * new_frames + 3
    assert (spec.new_frames, spec.motion_latents) == (new_frames, motion_latents)
    pcm_S = np.random.default_rng(1).normal(0, 0.1, frames * spec.samples_per_frame)
    chunks = list(talk(pipeline, PORTRAIT, [pcm_S.astype(np.float32)]))
    assert [len(chunk.frames_THWC) for chunk in chunks] == [new_frames, new_frames, 3]
    assert [chunk.first_frame for chunk in chunks] == [0, new_frames, 2 * new_frames]


def test_a_size_that_no_preset_divides_is_refused_before_anything_is_loaded() -> None:
    coarse = StreamSpec(vae_stride_hw=32, patch_hw=1)
    assert parse_size_hw("96x64", spec=coarse) == (64, 96)
    with pytest.raises(InputError, match="multiple of 32"):
        parse_size_hw("96x48", spec=coarse)
    with pytest.raises(InputError, match="multiple of 16"):
        parse_size_hw("96x40")
