"""Speech features against the published encoder's own numbers, and what must hold for any."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import Wav2Vec2Model

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import save_config
from flashtalk.models.wav2vec2 import AudioConfig, Wav2Vec2Features, feature_frames, prepare_pcm
from flashtalk.models.wav2vec2.loudness import match_loudness, unit_variance
from flashtalk.models.wav2vec2.loudness_meter import integrated_loudness
from flashtalk.models.wav2vec2.weights import (
    convert_published,
    load_config,
    published_shapes,
    to_published,
)
from tests.fakes.called_convolutions import CalledConvolutions
from tests.fakes.transformers_models import wav2vec2_config

GOLDENS = Path(__file__).parents[2] / "goldens"
TOLERANCE = 1e-4
CASES = ["speech", "leading_silence", "all_silence"]

Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_file(GOLDENS / "audio.safetensors")


@pytest.fixture(scope="module")
def notes() -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = json.loads((GOLDENS / "audio.json").read_text())
    return values


@pytest.fixture(scope="module")
def encoder(golden: Golden, notes: dict[str, dict[str, float]]) -> Wav2Vec2Features:
    config = AudioConfig.from_dict({"model_type": "wav2vec2", **notes["config"]})
    state = {k.removeprefix("state."): v for k, v in golden.items() if k.startswith("state.")}
    model = Wav2Vec2Features(config).eval().requires_grad_(False)
    model.load_state_dict(convert_published(state), strict=True)
    return model


@pytest.fixture
def tiny() -> Wav2Vec2Features:
    return Wav2Vec2Features(AudioConfig.tiny()).eval()


def wave(golden: Golden, case: str) -> np.ndarray:
    return golden[f"{case}.wave_i16"].numpy() / 32768.0


def features(model: Wav2Vec2Features, pcm_N: np.ndarray) -> Tensor:
    pcm_BN = torch.from_numpy(prepare_pcm(pcm_N))[None]
    feat_BTLD: Tensor = model(pcm_BN, feature_frames(pcm_N.size))
    return feat_BTLD[0]


@pytest.mark.parametrize("case", CASES)
def test_features_match_the_published_encoder(
    encoder: Wav2Vec2Features, golden: Golden, case: str
) -> None:
    actual = features(encoder, wave(golden, case))
    torch.testing.assert_close(actual, golden[f"{case}.embedding_TLD"], atol=TOLERANCE, rtol=0)


def test_a_length_between_two_frames_drops_the_rest(
    encoder: Wav2Vec2Features, golden: Golden
) -> None:
    actual = features(encoder, wave(golden, "speech")[:19277])
    torch.testing.assert_close(actual, golden["odd19277.embedding_TLD"], atol=TOLERANCE, rtol=0)


def test_convolutions_and_interpolation_match(encoder: Wav2Vec2Features, golden: Golden) -> None:
    pcm_BN = torch.from_numpy(prepare_pcm(wave(golden, "speech")))[None]
    conv_BSC = encoder.convolve(pcm_BN).transpose(1, 2)
    expected = golden["speech.tap.conv_features_T"]
    torch.testing.assert_close(conv_BSC, expected, atol=TOLERANCE, rtol=0)
    actual = encoder.transform(golden["speech.tap.interpolated"])[0]
    torch.testing.assert_close(actual, golden["speech.embedding_TLD"], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_loudness_and_normalisation_match(
    golden: Golden, notes: dict[str, dict[str, float]], case: str
) -> None:
    pcm_N = wave(golden, case)
    loudness = integrated_loudness(pcm_N)
    assert loudness == pytest.approx(float(notes[case]["integrated_loudness"]), abs=1e-9)
    assert np.abs(match_loudness(pcm_N)).max() == pytest.approx(notes[case]["peak_after"], abs=1e-9)
    start = 7 * 16_000
    expected = golden[f"{case}.fe_normalised_first4000_from_7s"].numpy()
    np.testing.assert_allclose(prepare_pcm(pcm_N)[start : start + 4000], expected, atol=TOLERANCE)


def test_single_precision_samples_give_the_same_features(
    encoder: Wav2Vec2Features, golden: Golden
) -> None:
    actual = features(encoder, wave(golden, "speech").astype(np.float32))
    torch.testing.assert_close(actual, golden["speech.embedding_TLD"], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("gain", [0.01, 0.3, 7.0])
def test_loudness_of_the_recording_does_not_matter(gain: float) -> None:
    pcm_N = np.random.default_rng(1).normal(0, 0.05, 32_000)
    np.testing.assert_allclose(prepare_pcm(gain * pcm_N), prepare_pcm(pcm_N), atol=1e-3)
    assert integrated_loudness(match_loudness(gain * pcm_N)) == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize(
    "pcm_N", [np.zeros(32_000), np.full(100, 0.1), np.zeros(1), 1e-6 * np.sin(np.arange(32_000))]
)
def test_unmeasurable_loudness_changes_nothing(pcm_N: np.ndarray) -> None:
    np.testing.assert_array_equal(match_loudness(pcm_N), pcm_N)
    assert np.isfinite(prepare_pcm(pcm_N)).all()


@pytest.mark.parametrize("pcm_hz", [8_000, 16_000, 44_100, 48_000])
def test_loudness_is_that_of_pyloudnorm(pcm_hz: int) -> None:
    """With pauses, an offset, and lengths between two blocks."""
    meter = pyloudnorm.Meter(pcm_hz)
    for seed in range(6):
        random = np.random.default_rng(seed)
        samples = int(pcm_hz * random.uniform(0.4, 9))
        levels = random.choice([0, 1e-5, 1e-3, 0.03, 0.3], 50)
        pcm_N = np.repeat(levels, samples // 50 + 1)[:samples] * random.normal(0, 1, samples)
        pcm_N += random.choice([0, 0.2])
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = meter.integrated_loudness(pcm_N)
        # Of sounds below the gate the library takes the mean of nothing.
        expected = expected if np.isfinite(expected) else -np.inf
        assert integrated_loudness(pcm_N, pcm_hz) == pytest.approx(expected, abs=1e-9)


def test_unit_variance_of_anything_but_silence() -> None:
    scaled = unit_variance(np.random.default_rng(0).normal(3, 2, 5_000).astype(np.float32))
    assert scaled.dtype == np.float32
    assert scaled.mean() == pytest.approx(0, abs=1e-5)
    assert scaled.std() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("pcm", "name"),
    [
        (np.array([0.0, np.nan]), "finite"),
        (np.zeros((2, 9)), "one channel"),
        (np.zeros(0), "one channel"),
    ],
)
def test_bad_samples_are_refused(pcm: np.ndarray, name: str) -> None:
    with pytest.raises(InputError, match=name):
        prepare_pcm(pcm)


def test_a_batch_equals_its_rows(tiny: Wav2Vec2Features) -> None:
    pcm_BN = torch.randn(3, 16_000)
    with torch.no_grad():
        together = tiny(pcm_BN, 25)
        alone = torch.cat([tiny(row[None], 25) for row in pcm_BN])
    assert together.shape == (3, 25, 4, 96)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_every_parameter_learns(tiny: Wav2Vec2Features) -> None:
    tiny.train()
    features_BTLD = tiny(torch.randn(2, 8_000), 12)
    features_BTLD.square().mean(dim=(0, 1)).sum().add(features_BTLD[:, 3].sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tiny.parameters())


def test_half_precision_weights_give_single_precision_features(tiny: Wav2Vec2Features) -> None:
    pcm_BN = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        exact = tiny(pcm_BN, 25)
        rough = tiny.bfloat16()(pcm_BN, 25)
    assert rough.dtype == torch.float32
    assert (exact - rough).abs().mean() < 0.05


@pytest.mark.parametrize("how", ["half weights", "autocast"])
def test_convolutions_are_single_precision_on_a_cpu(tiny: Wav2Vec2Features, how: str) -> None:
    """No half-precision convolution is asked for: some CPUs have wrong ones."""
    pcm_BN = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(3))
    expected = tiny(pcm_BN, 25)
    model = tiny.bfloat16() if how == "half weights" else tiny
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast")
    with CalledConvolutions() as called, torch.no_grad(), autocast:
        features = model(pcm_BN, 25)
    # The waveform's layers and the positional one.
    assert [c.dtype for c in called.seen] == [torch.float32] * (len(tiny.config.conv_dim) + 1)
    assert (features - expected).abs().mean() < 0.05 * expected.abs().mean().clamp(min=1.0)


def test_the_positional_layer_learns_under_autocast(tiny: Wav2Vec2Features) -> None:
    tiny.train()
    with torch.autocast("cpu", torch.bfloat16):
        tiny(torch.randn(1, 8_000), 12).square().mean().backward()
    parameters = list(tiny.encoder.pos_conv_embed.parameters())
    assert parameters
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in parameters)


@pytest.mark.parametrize(("shape", "frames"), [((1, 399), 1), ((400,), 1), ((1, 400), 0)])
def test_impossible_windows_are_refused(
    tiny: Wav2Vec2Features, shape: tuple[int, ...], frames: int
) -> None:
    with pytest.raises(InputError):
        tiny(torch.zeros(shape), frames)


def test_the_shortest_waveform_has_one_feature(tiny: Wav2Vec2Features) -> None:
    shortest = tiny.config.min_samples
    assert shortest == 400
    assert tiny.config.hop_samples == 320
    with torch.no_grad():
        assert tiny.convolve(torch.zeros(1, shortest)).shape[-1] == 1


def test_names_and_shapes_of_the_14b_preset_equal_the_manifest() -> None:
    manifest = json.loads((GOLDENS / "manifest_wav2vec2.json").read_text())
    legacy = manifest["notes"]["legacy_name_of"]
    prefix = manifest["notes"]["checkpoint_prefix"]
    expected = {
        prefix + legacy.get(name, name): tuple(entry["shape"])
        for name, entry in manifest["tensors"].items()
    }
    assert published_shapes(AudioConfig.flashtalk_14b()) == expected


def test_the_manifests_pretraining_heads_are_left_out(tiny: Wav2Vec2Features) -> None:
    notes = json.loads((GOLDENS / "manifest_wav2vec2.json").read_text())["notes"]
    heads = {name: torch.zeros(1) for name in notes["ignored_pretraining_heads"]}
    assert convert_published(heads) == {}
    ours = tiny.state_dict()
    assert convert_published(to_published(ours) | heads).keys() == ours.keys()
    assert convert_published(ours).keys() == ours.keys()


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("stable", [True, False])
def test_hidden_states_are_those_of_transformers(norm: str, stable: bool) -> None:
    config = AudioConfig(
        conv_dim=(8, 8),
        conv_kernel=(4, 2),
        conv_stride=(2, 2),
        conv_bias=True,
        feat_extract_norm=norm,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        do_stable_layer_norm=stable,
    )
    whole: nn.Module = Wav2Vec2Model(wav2vec2_config(config))
    whole.eval()
    ours = Wav2Vec2Features(config).eval()
    ours.load_state_dict(whole.state_dict())
    pcm_BN = torch.randn(1, 200)
    with torch.no_grad():
        output = whole(pcm_BN, output_hidden_states=True)
        states = output.hidden_states
        actual = ours(pcm_BN, states[0].shape[1])
    # With norms before the layers, only the whole model's output has had its last norm.
    expected = torch.stack([*states[1:-1], output.last_hidden_state], 2)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_initial_weights_are_spread_as_in_transformers(norm: str) -> None:
    config = dataclasses.replace(AudioConfig.tiny(), feat_extract_norm=norm, conv_bias=False)
    library = Wav2Vec2Model(wav2vec2_config(config)).state_dict()
    ours = Wav2Vec2Features(config).state_dict()
    assert ours.keys() == library.keys()
    for name, weight in ours.items():
        # The standard error of a deviation is 1 / sqrt(2 n): five of both sides.
        within = 5 / weight.numel() ** 0.5 * float(library[name].std())
        assert float(weight.std()) == pytest.approx(float(library[name].std()), abs=within), name


@pytest.mark.parametrize("config", [AudioConfig.tiny(), AudioConfig.flashtalk_14b()])
def test_config_survives_its_file(config: AudioConfig, tmp_path: Path) -> None:
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config


def test_a_published_config_is_read(tmp_path: Path) -> None:
    published = wav2vec2_config(AudioConfig.flashtalk_14b()).to_dict() | {"hidden_dropout": 0.1}
    (tmp_path / "config.json").write_text(json.dumps(published))
    assert load_config(tmp_path) == AudioConfig.flashtalk_14b()


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "hubert"},
        {"model_type": "wav2vec2", "hidden_act": "relu"},
        {"colour": 1},
        {"hidden_size": 97, "num_attention_heads": 4},
        {"conv_dim": [64, 64]},
        {"hidden_size": "wide"},
        {"feat_extract_norm": "batch"},
        {"conv_bias": 0},
        {"num_hidden_layers": True},
    ],
)
def test_a_config_of_something_else_is_one_error(values: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_config(tmp_path)
