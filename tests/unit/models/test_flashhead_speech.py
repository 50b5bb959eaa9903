"""Speech for FlashHead: the published numbers (tests/goldens/flashhead/audio), no loudness step."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flashtalk.engine import AudioEncoder
from flashtalk.models.wav2vec2 import AudioConfig, Wav2Vec2Features
from flashtalk.models.wav2vec2.loudness import prepare_pcm
from flashtalk.models.wav2vec2.weights import convert_published
from flashtalk.presets import FLASHHEAD, FLASHHEAD_LITE
from flashtalk.streaming import Position, preset_spec
from tests.fakes.golden_models import FLASHHEAD_GOLDENS

TOLERANCE = 1e-4
PRESETS = {"pro": FLASHHEAD, "lite": FLASHHEAD_LITE}
Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_file(FLASHHEAD_GOLDENS / "audio.safetensors")


@pytest.fixture(scope="module")
def model() -> Wav2Vec2Features:
    weights = FLASHHEAD_GOLDENS.parent / "audio"
    config = json.loads(weights.with_suffix(".json").read_text())["config"]
    stored = load_file(weights.with_suffix(".safetensors"))
    state = {k.removeprefix("state."): v for k, v in stored.items() if k.startswith("state.")}
    model = Wav2Vec2Features(AudioConfig.from_dict({"model_type": "wav2vec2", **config}))
    model.load_state_dict(convert_published(state), strict=True)
    return model.eval().requires_grad_(False)


def encoder(model: Wav2Vec2Features, variant: str) -> AudioEncoder:
    return AudioEncoder(model, preset_spec(PRESETS[variant]), loudness=False)


@pytest.mark.parametrize("case", ["speech", "quiet", "silence"])
def test_features_and_windows_are_the_published_ones(
    case: str, golden: Golden, model: Wav2Vec2Features
) -> None:
    heard = encoder(model, "pro")
    wave_S = (golden[f"{case}.wave_i16"].numpy() / 32768).astype(np.float32)
    features = heard.features(wave_S)
    close(features, golden[f"{case}.embedding_TLD"])
    close(heard.windows(features), golden[f"{case}.windows"])


def test_there_is_no_loudness_step(golden: Golden) -> None:
    """It would change quiet sound, whose variance is near the epsilon of the normalisation."""
    wave_S = golden["quiet.wave_i16"].numpy() / 32768
    expected = golden["quiet.normalised_from_7s_4000"].numpy()
    start = 7 * 16_000
    found = prepare_pcm(wave_S, loudness=False)[start : start + 4_000]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    audible_S = 5 * wave_S  # the meter does not measure what is below its gate
    assert prepare_pcm(audible_S).std() == pytest.approx(1, abs=1e-3)
    assert prepare_pcm(audible_S, loudness=False).std() < 0.95


@pytest.mark.parametrize("variant", ["pro", "lite"])
def test_windows_of_a_stream_are_the_published_ones(
    variant: str, golden: Golden, model: Wav2Vec2Features
) -> None:
    """Chunks 0 and 2 of a stream that begins with silence before it."""
    heard = encoder(model, variant)
    spec = heard.spec
    pcm = (golden["ring.pcm_i16"].numpy() / 32768).astype(np.float32)
    position = Position.start(spec, spec.window_samples)
    for index in range(3):
        new_S = pcm[index * spec.new_samples : (index + 1) * spec.new_samples]
        windows = heard.encode(np.concatenate(position.window(spec, new_S)))
        if index != 1:
            close(windows, golden[f"ring.{variant}.chunk{index}.windows"])
        position = position.advance(spec, new_S, spec.new_frames)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)
