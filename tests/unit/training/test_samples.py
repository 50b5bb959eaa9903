"""Videos that training samples of its networks are those that a stream shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flashtalk.engine import FlashTalkPipeline, talk
from tests.fakes.weights import micro_pipeline
from tests.tolerances import assert_frames, assert_rounded
from training.models import FrozenModels
from training.tasks.samples import SampleConfig, sampled_frames

CONFIG = SampleConfig(steps=2, seed=3)
PROMPT = "hello"
DRAW = np.random.default_rng(0)
PORTRAIT = DRAW.integers(0, 256, (32, 48, 3), dtype=np.uint8)
SPEECH = DRAW.normal(0, 0.1, 70 * 640 - 100).astype(np.float32)


@pytest.fixture(scope="module")
def pipeline() -> FlashTalkPipeline:
    return micro_pipeline()


def frozen_of(pipeline: FlashTalkPipeline, *, bf16: bool = False) -> FrozenModels:
    audio = pipeline.audio.model
    return FrozenModels(pipeline.vae, audio, pipeline.encoders.clip, "", torch.device("cpu"), bf16)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("packet", [1_000, len(SPEECH)])
def test_offline_frames_are_the_streamed_ones(
    pipeline: FlashTalkPipeline, guidance: float, packet: int
) -> None:
    sampling = CONFIG.uncorrected(PORTRAIT.shape[:2], guidance)
    _, text_1ND = pipeline.encoders.embed(PORTRAIT, PROMPT)
    offline = sampled_frames(
        pipeline.denoiser.network,
        frozen_of(pipeline),
        PORTRAIT,
        SPEECH,
        text_1ND,
        pipeline.spec,
        sampling,
        CONFIG.seed,
    )
    packets = [SPEECH[start : start + packet] for start in range(0, len(SPEECH), packet)]
    streamed = talk(
        pipeline,
        PORTRAIT,
        packets,
        prompt=PROMPT,
        seed=CONFIG.seed,
        size_hw=(32, 48),
        sampling=sampling,
    )
    assert offline.shape == (70, 32, 48, 3)
    assert_frames(offline, np.concatenate([chunk.frames_THWC for chunk in streamed]))


def test_a_network_is_trained_on_after_it_was_sampled(pipeline: FlashTalkPipeline) -> None:
    dit = pipeline.denoiser.network
    _, text_1ND = pipeline.encoders.embed(PORTRAIT, PROMPT)
    tokens_1ND = torch.randn(1, dit.config.clip_tokens, dit.config.clip_dim)
    z, y = torch.randn(1, 16, 9, 4, 6), torch.randn(1, 20, 9, 4, 6)

    def gradient() -> torch.Tensor:
        dit.zero_grad()
        context = dit.embed_context(tokens_1ND, text_1ND.clone())
        audio = dit.embed_audio(torch.ones(1, 33, 5, 1, 16))
        dit(z, torch.tensor([500.0]), y, context, audio).square().mean().backward()
        found = dit.head.head.weight.grad
        assert found is not None
        return found.clone()

    dit.requires_grad_(True)
    try:
        before = gradient()
        sampled_frames(
            dit,
            frozen_of(pipeline),
            PORTRAIT,
            SPEECH[:640],
            text_1ND,
            pipeline.spec,
            CONFIG.uncorrected(PORTRAIT.shape[:2], 1.0),
            0,
        )
        assert_rounded(gradient(), before)
    finally:
        dit.requires_grad_(False)


def test_frozen_models_in_bfloat16_give_nearly_the_same_stages(pipeline: FlashTalkPipeline) -> None:
    exact = frozen_of(pipeline).stages(pipeline.denoiser.network, pipeline.spec)
    half = frozen_of(pipeline, bf16=True).stages(pipeline.denoiser.network, pipeline.spec)
    reference = exact.codec.encode_reference(PORTRAIT)
    found = half.codec.encode_reference(PORTRAIT)
    assert found.z_BCFHW.dtype == torch.float32
    torch.testing.assert_close(found.z_BCFHW, reference.z_BCFHW, atol=0.1, rtol=0.1)
    assert not torch.equal(found.z_BCFHW, reference.z_BCFHW)
    video = half.codec.decode(reference.z_BCFHW)
    torch.testing.assert_close(video, exact.codec.decode(reference.z_BCFHW), atol=0.1, rtol=0.1)
