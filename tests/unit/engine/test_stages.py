"""The three stages of a chunk, each by itself."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flashtalk.arrays import Frames
from flashtalk.diffusion.noise import chunk_noise
from flashtalk.diffusion.sample import sample, timestep
from flashtalk.diffusion.schedule import sigmas
from flashtalk.diffusion.state import DiffusionState
from flashtalk.engine import AudioEncoder, ConditionEncoders, FlashTalkPipeline, Sampling
from flashtalk.engine.device_weights import StandInTokens
from flashtalk.engine.encoders import park
from flashtalk.engine.frame_transfer import to_bytes
from flashtalk.errors import InputError
from flashtalk.models.dit.conditions import ContextKV, ContextTokens, TimeEmbedding
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.models.wav2vec2 import AudioConfig, Wav2Vec2Features
from flashtalk.models.wav2vec2.weights import convert_published
from flashtalk.streaming import StreamSpec
from tests.fakes.weights import micro_pipeline
from tests.tolerances import PUBLISHED, assert_frames, assert_rounded

PORTRAIT = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pipeline() -> FlashTalkPipeline:
    return micro_pipeline()


@pytest.mark.parametrize("name", ["speech", "leading_silence", "all_silence"])
def test_speech_windows_are_those_of_the_published_code(goldens: Path, name: str) -> None:
    tensors = load_file(goldens / "audio.safetensors")
    config = json.loads((goldens / "audio.json").read_text())["config"]
    model = Wav2Vec2Features(AudioConfig.from_dict(config)).eval()
    state = {k.removeprefix("state."): v for k, v in tensors.items() if k.startswith("state.")}
    model.load_state_dict(convert_published(state))
    encoder = AudioEncoder(model, StreamSpec())
    pcm = (tensors[f"{name}.wave_i16"].numpy() / 32_768).astype(np.float32)
    features = encoder.features(pcm)
    torch.testing.assert_close(features, tensors[f"{name}.embedding_TLD"], atol=PUBLISHED, rtol=0)
    windows = encoder.encode(pcm)
    assert windows.shape == (1, 33, 5, *features.shape[1:])
    if name == "speech":
        expected = tensors["speech.window_stream_167_200"]
        torch.testing.assert_close(windows, expected, atol=PUBLISHED, rtol=0)


def test_a_window_of_another_length_is_refused(pipeline: FlashTalkPipeline) -> None:
    with pytest.raises(InputError, match="128000 samples"):
        pipeline.audio.encode(np.zeros(17_920, np.float32))


def test_a_reference_is_the_portrait_followed_by_grey(pipeline: FlashTalkPipeline) -> None:
    codec = pipeline.codec
    reference = codec.encode_reference(PORTRAIT)
    assert reference.z_BCFHW.shape == (1, 16, 9, 4, 6)
    assert reference.size_hw == (32, 48)
    video = torch.zeros(1, 3, 33, 32, 48)
    video[0, :, 0] = torch.from_numpy(PORTRAIT).permute(2, 0, 1) / 127.5 - 1
    assert_rounded(reference.z_BCFHW, codec.vae.encode(video))
    # The VAE is causal: the first latent is the portrait alone, which starts the session.
    alone = codec.vae.encode(video[:, :, :1])
    assert_rounded(reference.z_BCFHW[:, :, :1], alone)


def test_references_are_named_by_their_pixels(pipeline: FlashTalkPipeline) -> None:
    codec = pipeline.codec
    first = codec.encode_reference(PORTRAIT).digest
    assert codec.encode_reference(PORTRAIT.copy()).digest == first
    assert codec.encode_reference(PORTRAIT[:, ::-1]).digest != first
    assert codec.encode_reference(PORTRAIT.reshape(48, 32, 3)).digest != first


@pytest.mark.parametrize(
    "portrait",
    [PORTRAIT[:31], PORTRAIT[..., :1], PORTRAIT.astype(np.float32), PORTRAIT[0]],
    ids=["not divisible", "one channel", "float", "flat"],
)
def test_portraits_that_do_not_fit_are_refused(
    pipeline: FlashTalkPipeline, portrait: np.ndarray
) -> None:
    with pytest.raises(InputError):
        pipeline.codec.encode_reference(portrait)


def exhausted(
    stream: Generator[Frames, None, torch.Tensor],
) -> tuple[list[Frames], torch.Tensor]:
    """What a generator yields, and what it returns."""
    parts: list[Frames] = []
    while True:
        try:
            parts.append(next(stream))
        except StopIteration as end:
            motion: torch.Tensor = end.value
            return parts, motion


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_streamed_decoding_gives_the_frames_of_the_whole_chunk(
    pipeline: FlashTalkPipeline, strength: float
) -> None:
    codec = pipeline.codec
    reference = codec.encode_reference(PORTRAIT)
    z = chunk_noise(1, 0, 0, (1, 16, 9, 4, 6))
    video = codec.correct(codec.decode(z), reference, strength)
    whole, motion = to_bytes(video), codec.encode_motion(video)

    parts, streamed_motion = exhausted(codec.stream(z, reference.color, strength))
    assert [len(part) for part in parts] == [4, 24]
    assert_frames(np.concatenate(parts), whole)
    assert_rounded(streamed_motion, motion)
    assert motion.shape == (1, 16, 2, 4, 6)


def test_bytes_are_truncated_and_clamped() -> None:
    levels = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 3.0])
    video = levels.view(1, 1, 6, 1, 1).expand(1, 3, 6, 1, 1)
    assert to_bytes(video)[:, 0, 0, 0].tolist() == [0, 0, 127, 254, 255, 255]


def test_conditionings_are_named_by_portrait_and_prompt(pipeline: FlashTalkPipeline) -> None:
    reference = pipeline.codec.encode_reference(PORTRAIT)
    other = pipeline.codec.encode_reference(PORTRAIT[::-1])

    def name(prompt: str, portrait: np.ndarray, of: object = reference) -> str:
        assert isinstance(of, type(reference))
        return pipeline.condition(portrait, of, prompt).digest

    first = name("hello", PORTRAIT)
    assert name("hello", PORTRAIT) == first
    assert name("hello ", PORTRAIT) != first
    assert name("hello", PORTRAIT[::-1], other) != first


def test_parked_encoders_visit_the_device_and_leave_nothing_there() -> None:
    """They are what they were, their weights where they were."""
    encoders = micro_pipeline().encoders
    exact = encoders.embed(PORTRAIT, "hello")
    for model in (encoders.clip, encoders.text):
        park(model, torch.device("cpu"))
    parts = encoders.clip, encoders.text, encoders.tokenizer
    parked = ConditionEncoders(*parts, torch.device("cpu"), parked=True)
    for found, before in zip(parked.embed(PORTRAIT, "hello"), exact, strict=True):
        assert torch.equal(found, before)
    tokens = StandInTokens(4, 8, torch.device("cpu"), torch.float32, 0)  # umT5 looks at its words
    text = cast(TextEncoder, tokens)
    elsewhere = ConditionEncoders(
        encoders.clip, text, encoders.tokenizer, torch.device("meta"), parked=True
    )
    assert [found.device.type for found in elsewhere.embed(PORTRAIT, "hello")] == ["meta", "meta"]
    for model in (encoders.clip, text):
        assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}


def test_noise_levels_are_embedded_once(
    pipeline: FlashTalkPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once per chunk: their projection is the largest layer of the published network."""
    denoiser = pipeline.denoiser
    asked: list[list[float]] = []
    reference = pipeline.codec.encode_reference(PORTRAIT)
    conditioning = pipeline.condition(PORTRAIT, reference, "hello")
    windows, sampling = torch.randn(1, 33, 5, 1, 16), Sampling(steps=3, shift=2.0)
    embed_time = denoiser.network.embed_time

    def counted(t_B: torch.Tensor) -> TimeEmbedding:
        asked.append(t_B.tolist())
        return embed_time(t_B)

    monkeypatch.setattr(denoiser.network, "embed_time", counted)
    for seed in range(3):
        state = DiffusionState.start(seed, reference.z_BCFHW, pipeline.spec)
        denoiser.denoise(conditioning, windows, state, sampling)
    assert asked == [pytest.approx([1000 * level for level in sigmas(3, 2.0)])]


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_guidance_is_what_two_passes_give(pipeline: FlashTalkPipeline, scale: float) -> None:
    denoiser = pipeline.denoiser
    reference = pipeline.codec.encode_reference(PORTRAIT)
    conditioning = pipeline.condition(PORTRAIT, reference, "hello")
    state = DiffusionState.start(5, reference.z_BCFHW, pipeline.spec)
    windows = torch.randn(1, 33, 5, 1, 16)
    sampling = Sampling(steps=2, audio_guidance=scale)
    found = denoiser.denoise(conditioning, windows, state, sampling)

    dit, context, y = denoiser.network, conditioning.context, conditioning.y_BCFHW
    heard, deaf = dit.encode_audio(windows), dit.encode_audio(torch.zeros_like(windows))

    def velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
        t = timestep(x, sigma)
        with_speech, without = dit(x, t, y, context, heard), dit(x, t, y, context, deaf)
        mixed: torch.Tensor = without + scale * (with_speech - without)
        return mixed

    expected = sample(
        velocity,
        state.motion_z,
        state.shape,
        sigmas(2),
        lambda step: chunk_noise(5, 0, step, state.shape),
    )
    assert_rounded(found, expected)
    assert torch.equal(found, denoiser.denoise(conditioning, windows, state, sampling))
    assert torch.equal(found[:, :, :1], state.motion_z)


def test_both_samplers_run_and_differ(pipeline: FlashTalkPipeline) -> None:
    reference = pipeline.codec.encode_reference(PORTRAIT)
    conditioning = pipeline.condition(PORTRAIT, reference, "")
    state = DiffusionState.start(5, reference.z_BCFHW, pipeline.spec)
    windows = torch.randn(1, 33, 5, 1, 16)
    first, second = (
        pipeline.denoiser.denoise(conditioning, windows, state, Sampling(steps=2, sampler=name))
        for name in ("renoise", "euler")
    )
    assert not torch.equal(first, second)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_tokens_say_what_keys_and_values_say(pipeline: FlashTalkPipeline, scale: float) -> None:
    denoiser, reference = pipeline.denoiser, pipeline.codec.encode_reference(PORTRAIT)
    encoded = pipeline.encoders.embed(PORTRAIT, "hello")
    by_kv, by_tokens = (
        denoiser.conditioned(encoded, reference.z_BCFHW, "", projected=projected)
        for projected in (True, False)
    )
    assert isinstance(by_kv.context, ContextKV)
    assert isinstance(by_tokens.context, ContextTokens)
    state = DiffusionState.start(5, reference.z_BCFHW, pipeline.spec)
    windows, sampling = torch.randn(1, 33, 5, 1, 16), Sampling(steps=2, audio_guidance=scale)
    found = denoiser.denoise(by_tokens, windows, state, sampling)
    assert_rounded(found, denoiser.denoise(by_kv, windows, state, sampling))
    assert not found.requires_grad
