"""Shapes, errors, configuration, files and the properties of the LTX VAE that the engine uses."""

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import save_config
from flashtalk.models.ltx_vae import LtxVae, LtxVaeConfig
from flashtalk.models.ltx_vae.weights import PUBLISHED_FILE, load, load_config
from flashtalk.models.vae import VAEConfig
from tests.fakes.golden_models import golden_ltx_vae
from tests.tolerances import assert_rounded

CONFIG = LtxVaeConfig(
    block_out_channels=(4, 6, 8, 8),
    layers_per_block=(1, 1, 1, 1, 1),
    latent_channels=12,
)


@pytest.fixture(scope="module")
def vae() -> LtxVae:
    return golden_ltx_vae()


def clip(frames: int, batch: int = 1) -> Tensor:
    coarse = torch.randn(batch, 3, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.interpolate(coarse, (frames, 64, 32), mode="trilinear")


def latents(frames: int, batch: int = 1) -> Tensor:
    noise = torch.Generator().manual_seed(4)
    return torch.randn(batch, 24, frames, 2, 1, generator=noise)


def folder_of(vae: LtxVae, folder: Path) -> Path:
    save_config(vae.config, folder)
    state = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    save_file(state, folder / PUBLISHED_FILE)
    return folder


def test_the_published_preset_compresses_8x32x32_to_128_channels() -> None:
    config = LtxVaeConfig.flashhead_lite()
    with torch.device("meta"), torch.inference_mode():
        model = LtxVae(config)
        z = model.encode(torch.empty(1, 3, 33, 64, 96))
        video = model.decode(z)
    assert z.shape == (1, 128, 5, 2, 3)
    assert video.shape == (1, 3, 33, 64, 96)
    assert (config.stride_t, config.stride_hw, config.z_channels) == (8, 32, 128)


def test_the_engine_reads_the_same_names_of_every_vae() -> None:
    ours, other = LtxVaeConfig.flashhead_lite(), VAEConfig.flashtalk_14b()
    for name in ("stride_t", "stride_hw", "z_channels"):
        assert isinstance(getattr(ours, name), type(getattr(other, name)))


@pytest.mark.parametrize("frames", [2, 5, 8, 32, 0])
def test_encode_refuses_a_partial_group(vae: LtxVae, frames: int) -> None:
    with pytest.raises(InputError, match=r"1 \+ 8n|\[B, 3, T, H, W\]"):
        vae.encode(torch.zeros(1, 3, frames, 32, 32))


@pytest.mark.parametrize(
    "shape", [(3, 9, 32, 32), (1, 4, 9, 32, 32), (1, 3, 9, 48, 32), (1, 3, 9, 32, 40)]
)
def test_encode_refuses_other_shapes(vae: LtxVae, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="video"):
        vae.encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 23, 2, 2, 2), (24, 2, 2, 2), (1, 24, 0, 2, 2)])
def test_decode_refuses_other_shapes(vae: LtxVae, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="latents"):
        vae.decode(torch.zeros(shape))


@torch.inference_mode()
@pytest.mark.parametrize("frames", [1, 9, 17, 25])
def test_encoding_a_prefix_gives_the_prefix_of_the_latents(vae: LtxVae, frames: int) -> None:
    video = clip(33)
    z = vae.encode(video)
    assert_rounded(vae.encode(video[:, :, :frames]), z[:, :, : 1 + frames // 8])


@torch.inference_mode()
@pytest.mark.parametrize("kept", [1, 2, 4])
def test_decoding_a_prefix_changes_every_frame(vae: LtxVae, kept: int) -> None:
    z = latents(5)
    part, whole = vae.decode(z[:, :, :kept]), vae.decode(z)[:, :, : 8 * kept - 7]
    changes = (part - whole).abs().amax(dim=(0, 1, 3, 4))
    assert len(changes) == 8 * kept - 7
    assert changes.min() > 0.01


@torch.inference_mode()
def test_nothing_is_clamped(vae: LtxVae) -> None:
    assert vae.decode(10 * latents(2)).abs().max() > 1
    bright = clip(9) + 3
    assert not torch.allclose(vae.encode(bright), vae.encode(bright.clamp(-1, 1)), atol=0.1)


@torch.inference_mode()
def test_a_batch_gives_the_results_of_its_videos(vae: LtxVae) -> None:
    video, z = clip(9, batch=2), latents(3, batch=2)
    assert_rounded(vae.encode(video), torch.cat([vae.encode(v) for v in video.split(1)]))
    assert_rounded(vae.decode(z), torch.cat([vae.decode(v) for v in z.split(1)]))


def test_the_form_with_gradients_gives_the_same(vae: LtxVae) -> None:
    video, z = clip(9), latents(2)
    with torch.inference_mode():
        wanted, frames = vae.encode(video), vae.decode(z)
    assert_rounded(vae.encode(video), wanted)
    assert_rounded(vae.decode(z), frames)


@torch.inference_mode()
def test_the_form_of_a_gpu_gives_the_same(vae: LtxVae, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processors have no blocks: their norm writes between the repeated frames at once."""
    video, z = clip(9), latents(2)
    wanted, frames = vae.encode(video), vae.decode(z)
    for module in ("models.ltx_vae.layers", "ops.channel_norm"):
        monkeypatch.setattr(f"flashtalk.{module}.works_in_blocks", lambda x: False)
    assert_rounded(vae.encode(video), wanted)
    assert_rounded(vae.decode(z), frames)


@torch.inference_mode()
def test_encoder_and_decoder_compile_as_one_graph_each() -> None:
    torch.manual_seed(0)
    model = LtxVae(CONFIG).eval()
    z = torch.randn(1, CONFIG.latent_channels, 2, 2, 1)
    for part, x in ((model.encoder, clip(9)), (model.decoder, z)):
        traced = torch.compile(part, backend="eager", fullgraph=True, dynamic=False)
        assert_rounded(traced(x), part(x))


@torch.inference_mode()
def test_inputs_are_left_as_they_are(vae: LtxVae) -> None:
    """Blocks add in place; none may add to what the caller holds."""
    video, z = clip(9), latents(2)
    kept_video, kept_z = video.clone(), z.clone()
    vae.encode(video)
    vae.decode(z)
    assert torch.equal(video, kept_video)
    assert torch.equal(z, kept_z)


@torch.inference_mode()
def test_memory_order_of_the_inputs_does_not_matter(vae: LtxVae) -> None:
    video, z = clip(9), latents(3)
    other = video.contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(vae.encode(other), vae.encode(video))
    assert torch.equal(vae.decode(z.mT.contiguous().mT), vae.decode(z))


@torch.inference_mode()
def test_bfloat16_stays_close(vae: LtxVae) -> None:
    video = clip(9)
    wanted = vae.encode(video)
    frames = vae.decode(wanted)
    half = copy.deepcopy(vae).bfloat16()
    z = half.encode(video.bfloat16())
    found = half.decode(wanted.bfloat16())
    assert z.dtype == found.dtype == torch.bfloat16
    assert (z.float() - wanted).abs().mean() < 0.03 * wanted.std()
    assert (found.float() - frames).abs().mean() < 0.03 * frames.std()


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    model = LtxVae(CONFIG)
    moments = model.encode_moments(clip(9))
    frames = model.decode(model.normalise(moments.mu))
    (frames.square().mean() + moments.logvar.square().mean()).backward()
    idle = [
        name
        for name, p in model.named_parameters()
        if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()
    ]
    assert idle == []


def test_normalising_is_undone(vae: LtxVae) -> None:
    raw = latents(2)
    assert_rounded(vae.denormalise(vae.normalise(raw)), raw)
    assert not torch.allclose(vae.normalise(raw), raw, atol=0.1)


@pytest.mark.parametrize("config", [LtxVaeConfig.flashhead_lite(), CONFIG])
def test_configuration_survives_its_file(config: LtxVaeConfig, tmp_path: Path) -> None:
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config


def test_the_written_configuration_is_the_published_one(goldens: Path) -> None:
    manifest = json.loads((goldens / "manifest_ltx_vae.json").read_text())
    published = manifest["notes"]["registered_config"]
    del published["_diffusers_version"]
    assert LtxVaeConfig.flashhead_lite().to_dict() == published


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("_class_name", "AutoencoderKLWan"),
        ("block_out_channels", [128, 256, 0, 512]),
        ("block_out_channels", [128, 256]),
        ("block_out_channels", 128),
        ("decoder_causal", True),
        ("encoder_causal", False),
        ("in_channels", 4),
        ("in_channels", None),
        ("encoder_causal", 1),
        ("latent_channels", 0),
        ("latent_channels", True),
        ("latent_channels", "128"),
        ("layers_per_block", [4, 3, 3, 3]),
        ("layers_per_block", [4, 3, 3.0, 3, 4]),
        ("out_channels", 1),
        ("patch_size", 2),
        ("patch_size_t", 2),
        ("resnet_norm_eps", 0.0),
        ("resnet_norm_eps", float("nan")),
        ("scaling_factor", 0.5),
        ("spatio_temporal_scaling", [True, True, False, False]),
        ("spatio_temporal_scaling", [True, True, True]),
        ("spatio_temporal_scaling", [1, 1, 1, 0]),
    ],
)
def test_unsupported_configurations_are_refused_by_name(
    field: str, value: object, tmp_path: Path
) -> None:
    values = LtxVaeConfig.flashhead_lite().to_dict() | {field: value}
    (tmp_path / "config.json").write_text(json.dumps(values))
    related = "layers_per_block" if value == [128, 256] else field
    with pytest.raises(WeightsError, match=rf"config\.json: {related}: "):
        load_config(tmp_path)


def test_unknown_and_missing_entries_are_refused_by_name(tmp_path: Path) -> None:
    values = LtxVaeConfig.flashhead_lite().to_dict()
    with pytest.raises(InputError, match="timestep_conditioning"):
        LtxVaeConfig.from_dict(values | {"timestep_conditioning": False})
    for name in values:
        with pytest.raises(InputError, match=name):
            LtxVaeConfig.from_dict({k: v for k, v in values.items() if k != name})
    for text in ("[1]", "null", "{", '"text"'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(WeightsError, match=r"config\.json"):
            load_config(tmp_path)


@torch.inference_mode()
def test_a_folder_loads_with_its_statistics(vae: LtxVae, tmp_path: Path) -> None:
    loaded = load(folder_of(vae, tmp_path))
    assert loaded.state_dict().keys() == vae.state_dict().keys()
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    assert_rounded(loaded.encode(clip(9)), vae.encode(clip(9)))
    half = load(tmp_path, dtype=torch.bfloat16)
    assert {t.dtype for t in half.state_dict().values()} == {torch.bfloat16}


def test_a_folder_with_other_tensors_is_refused_in_one_error(vae: LtxVae, tmp_path: Path) -> None:
    folder_of(vae, tmp_path)
    state = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    del state["latents_std"], state["decoder.conv_out.conv.bias"]
    state["encoder.conv_out.conv.bias"] = torch.zeros(48)
    state["decoder.timestep_scale_multiplier"] = torch.zeros(())
    save_file(state, tmp_path / PUBLISHED_FILE)
    with pytest.raises(WeightsError) as refused:
        load(tmp_path)
    for name in (
        str(tmp_path),
        "2 missing",
        "latents_std",
        "decoder.conv_out.conv.bias",
        "1 unexpected",
        "decoder.timestep_scale_multiplier",
        "1 misshapen",
        "encoder.conv_out.conv.bias [48] instead of [25]",
    ):
        assert name in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"), [("latents_std", 0.0), ("latents_std", -1.0), ("latents_mean", torch.nan)]
)
def test_unusable_statistics_are_refused(
    vae: LtxVae, tmp_path: Path, name: str, value: float
) -> None:
    broken = copy.deepcopy(vae)
    broken.get_buffer(name)[3] = value
    with pytest.raises(WeightsError, match=name):
        load(folder_of(broken, tmp_path))


def test_a_folder_without_files_is_refused(vae: LtxVae, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json"):
        load(tmp_path / "absent")
    save_config(vae.config, tmp_path)
    with pytest.raises(WeightsError, match="weights need"):
        load(tmp_path)
