"""The engine itself against the published chunk loop: portrait bytes in, frame bytes out.

The recorded run fixes what is drawn or encoded elsewhere (noise, speech windows, image tokens,
text); resize, conditioning, sampling, decoding, colours, bytes and the hand-over of the motion
frames are the engine's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flashtalk.engine import (
    AudioEncoder,
    ConditionEncoders,
    DiTDenoiser,
    Pipeline,
    Sampling,
    VideoCodec,
    advance,
    denoiser,
    start,
)
from flashtalk.models.clip import ClipVision
from flashtalk.models.dit import DiT, DiTConfig
from flashtalk.models.umt5 import TextEncoder, Tokenizer
from flashtalk.models.vae import VAEConfig, VideoVAE
from flashtalk.streaming import ChunkClock, Pcm, StreamSpec
from tests.tolerances import PUBLISHED, assert_frames

SPEC = StreamSpec()
Golden = dict[str, Tensor]


class Recorded(torch.nn.Module):
    """Stands for an encoder: gives what was recorded, whatever it is given."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.value


class RecordedSpeech:
    """Stands for the speech encoder: the recorded windows of chunk 0, 1, ..."""

    def __init__(self, windows: Iterator[Tensor]) -> None:
        self.windows = windows

    def encode(self, pcm_S: Pcm) -> Tensor:
        return next(self.windows)


class NoWords:
    """Stands for the tokenizer."""

    def encode(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        return torch.zeros(1, 1), torch.ones(1, 1)


@pytest.fixture(scope="module")
def golden(goldens: Path) -> Golden:
    return load_file(goldens / "sampler.safetensors")


def state_of(path: Path) -> Golden:
    tensors = load_file(path)
    return {k.removeprefix("state."): v for k, v in tensors.items() if k.startswith("state.")}


@pytest.fixture
def pipeline(goldens: Path, golden: Golden) -> Pipeline:
    dit = DiT(DiTConfig.from_dict(json.loads((goldens / "dit_tiny.json").read_text())["config"]))
    dit.load_state_dict(state_of(goldens / "dit_tiny.safetensors"))
    values = json.loads((goldens / "vae_tiny.json").read_text())["config"]
    vae = VideoVAE(
        VAEConfig(
            dim=values["dim"],
            z_channels=values["z_dim"],
            dim_mult=tuple(values["dim_mult"]),
            num_res_blocks=values["num_res_blocks"],
            temporal_down=tuple(values["temperal_downsample"]),
        )
    )
    vae.load_state_dict(state_of(goldens / "vae_tiny.safetensors"))
    speech = RecordedSpeech(golden[f"in.audio{chunk}_q8"].float() / 32 for chunk in range(2))
    return Pipeline(
        name="recorded",
        spec=SPEC,
        sampling=Sampling(height_px=64, width_px=48),
        audio=cast(AudioEncoder, speech),
        denoiser=DiTDenoiser(dit.eval()),
        encoders=ConditionEncoders(
            cast(ClipVision, Recorded(golden["in.clip_fea_q8"].float() / 32)),
            cast(TextEncoder, Recorded(golden["in.context"][None])),
            cast(Tokenizer, NoWords()),
            torch.device("cpu"),
        ),
        codec=VideoCodec(vae.eval(), SPEC),
    )


def test_two_chunks_are_the_published_bytes(
    pipeline: Pipeline, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recorded_noise(
        seed: int, chunk: int, step: int, shape: tuple[int, ...], device: torch.device
    ) -> Tensor:
        return golden[f"s4.chunk{chunk}.noise"][step].view(shape).to(device)

    monkeypatch.setattr(denoiser, "chunk_noise", recorded_noise)
    session = start(pipeline, golden["in.image_u8_hwc"].numpy())
    torch.testing.assert_close(session.conditioning.y_BCFHW, golden["s4.y"], atol=PUBLISHED, rtol=0)
    first_motion = golden["s4.init_motion_latent"][None]
    torch.testing.assert_close(session.state.motion_z, first_motion, atol=PUBLISHED, rtol=0)

    sound = np.zeros(2 * SPEC.new_samples, np.float32)
    for index, chunk in enumerate(ChunkClock(SPEC).push(sound)):
        result, session = advance(pipeline, session, chunk)
        expected = golden[f"s4.chunk{index}.frames_u8"].numpy()
        assert_frames(result.frames_THWC, expected)
        motion = golden[f"s4.chunk{index}.motion_latent_after"][None]
        torch.testing.assert_close(session.state.motion_z, motion, atol=PUBLISHED, rtol=0)
