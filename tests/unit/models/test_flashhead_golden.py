"""The published network's own numbers (tests/goldens/flashhead) and its parameter names."""

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from flashtalk.models.checkpoint import build
from flashtalk.models.flashhead import FlashHead, FlashHeadConfig
from flashtalk.models.flashhead.block import Block
from flashtalk.models.flashhead.weights import UNUSED, convert
from flashtalk.models.transformer.speech import regroup_windows
from flashtalk.ops.norms import layer_norm
from flashtalk.ops.rope import apply_rope, rope_table
from tests.fakes.golden_models import (
    FLASHHEAD_GOLDENS,
    golden_flashhead,
    golden_flashhead_config,
    golden_flashhead_state,
)
from tests.tolerances import PUBLISHED

VARIANTS = ("pro", "lite")
PRESETS = {"pro": FlashHeadConfig.pro(), "lite": FlashHeadConfig.lite()}

Golden = dict[str, Tensor]


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def golden(variant: str) -> Golden:
    return load_file(FLASHHEAD_GOLDENS / f"dit_{variant}_tiny.safetensors")


@pytest.fixture(scope="module")
def report(variant: str) -> dict[str, Any]:
    notes = json.loads((FLASHHEAD_GOLDENS / f"dit_{variant}_tiny.json").read_text())
    found: dict[str, Any] = notes["report"]
    return found


@pytest.fixture(scope="module")
def network(variant: str) -> FlashHead:
    return golden_flashhead(variant)


def speech(golden: Golden) -> Tensor:
    return golden["in.audio_q8"].float() / 32


@torch.no_grad()
def velocity(network: FlashHead, golden: Golden, time: str, windows: Tensor) -> Tensor:
    audio = network.encode_audio(windows)
    v: Tensor = network(golden["in.x"], golden[f"in.{time}"], golden["in.y"], audio)
    return v


def close(found: Tensor, wanted: Tensor, what: str = "") -> None:
    assert found.shape == wanted.shape, what
    error = (found - wanted).abs().max().item()
    assert error < PUBLISHED, f"{what}: {error}"


@pytest.mark.parametrize("time", ["t1", "t2"])
def test_velocity_matches_the_published_network(
    network: FlashHead, golden: Golden, time: str
) -> None:
    close(velocity(network, golden, time, speech(golden)), golden[f"out.{time}"])


def test_zero_windows_are_the_dropped_speech(network: FlashHead, golden: Golden) -> None:
    silent = torch.zeros_like(speech(golden))
    close(velocity(network, golden, "t2", silent), golden["out.t2_audio_zero"])


def taps(network: FlashHead, run: Callable[[], object], names: dict[str, str]) -> Golden:
    """Outputs of the named submodules while ``run`` runs."""
    seen: Golden = {}

    def recorder(tap: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _module, _inputs, output: seen.__setitem__(tap, output)

    handles = [
        network.get_submodule(path).register_forward_hook(recorder(tap))
        for tap, path in names.items()
    ]
    run()
    for handle in handles:
        handle.remove()
    return seen


def test_every_tap_matches_the_published_network(network: FlashHead, golden: Golden) -> None:
    names = ["audio_proj", "patch_embedding", "block0", "block1", "head"]
    names += ["block0.self_attn", "block0.cross_attn"]
    paths = {f"tap.{name}": re.sub(r"block(\d)", r"blocks.\1", name) for name in names}
    seen = taps(network, lambda: velocity(network, golden, "t1", speech(golden)), paths)
    seen["tap.time_embedding"], six = network.embed_time(golden["in.t1"])
    seen["tap.time_projection"] = six.flatten(1)
    first, later = regroup_windows(speech(golden), network.config.vae_scale)
    seen |= {"tap.audio_first": first, "tap.audio_later": later}
    expected = golden | {
        "tap.patch_embedding": golden["tap.patch_embedding"].flatten(2).transpose(1, 2),
        "tap.block0.cross_attn": golden["tap.block0.cross_attn"].flatten(0, 1).unsqueeze(0),
    }
    assert seen.keys() == {name for name in golden if name.startswith("tap.")}
    for name, ours in seen.items():
        close(ours, expected[name], name)


def test_norms_and_head_on_values_that_show_their_epsilon() -> None:
    golden = load_file(FLASHHEAD_GOLDENS / "dit_pro_tiny.safetensors")
    network = golden_flashhead("pro")
    small = {k: v for k, v in golden.items() if k.startswith("aux.small.")}
    x, block = small.pop("aux.small.in"), network.blocks[0]
    assert isinstance(block, Block)
    time_BD, _ = network.embed_time(golden["in.t1"])
    with torch.no_grad():
        ours = {
            "norm1": layer_norm(x, block.eps),
            "norm3": block.norm3(x),
            "self_attn.norm_q": block.self_attn.norm_q(x),
            "cross_attn.norm_k": block.cross_attn.norm_k(x),
            "audio_proj.norm": network.audio_proj.norm(x),
            "head": network.head(x, time_BD),
        }
    assert {f"aux.small.{name}" for name in ours} == small.keys()
    for name, found in ours.items():
        close(found, small[f"aux.small.{name}"], name)


def test_rotation_at_the_real_head_width() -> None:
    golden = load_file(FLASHHEAD_GOLDENS / "dit_pro_tiny.safetensors")
    x = golden["aux.rope128.in"]
    assert x.shape[-1] == FlashHeadConfig.pro().head_dim == FlashHeadConfig.lite().head_dim
    close(apply_rope(x, rope_table((2, 3, 4), 128, x.device)), golden["aux.rope128.out"])


def test_entries_that_regrouping_drops_change_nothing(
    network: FlashHead, golden: Golden, report: dict[str, Any]
) -> None:
    pattern = re.compile(r"audio entry frame (\d+), window position (\d+)")
    entries = [
        (int(found[1]), int(found[2]), value)
        for name, value in report["sensitivity_meanabs"].items()
        if (found := pattern.fullmatch(name))
    ]
    assert {value == 0 for *_, value in entries} == {True, False}
    before = velocity(network, golden, "t1", speech(golden))
    for frame, position, sensitivity in entries:
        windows = speech(golden)
        windows[:, frame, position] += 3.0
        after = velocity(network, golden, "t1", windows)
        assert torch.equal(after, before) == (sensitivity == 0), (frame, position)


def in_bfloat16(variant: str, config: FlashHeadConfig) -> FlashHead:
    state = convert(golden_flashhead_state(variant))
    return build(lambda: FlashHead(config), state, dtype=torch.bfloat16)


def test_bfloat16_rounds_the_time_before_its_sinusoid(
    variant: str, network: FlashHead, golden: Golden, report: dict[str, Any]
) -> None:
    """Both round in their own places, each as far from float32 as recorded; without the time's
    rounding the difference is an order of magnitude larger."""
    recorded, deviation = golden["out_bf16.t2"].float(), report["bf16_vs_f32_at_832_mean"]
    config = golden_flashhead_config(variant)
    rounded = velocity(in_bfloat16(variant, config), golden, "t2", speech(golden))
    assert rounded.dtype == torch.float32
    assert (rounded - recorded).abs().mean() < 2 * deviation
    at_832 = golden | {"in.t2": torch.tensor([832.0])}
    exact = velocity(network, at_832, "t2", speech(golden))
    assert (rounded - exact).abs().mean() < 2 * deviation

    unrounded = dataclasses.replace(config, bfloat16_timestep=False)
    other = velocity(in_bfloat16(variant, unrounded), golden, "t2", speech(golden))
    exact = velocity(network, golden, "t2", speech(golden))
    assert (other - exact).abs().mean() < 2 * deviation
    assert (other - recorded).abs().mean() > 10 * deviation


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_a_preset_and_unused_tensors_are_the_manifest(name: str) -> None:
    manifest = json.loads((FLASHHEAD_GOLDENS / f"manifest_flashhead_{name}.json").read_text())
    with torch.device("meta"):
        network = FlashHead(PRESETS[name])
    published = {n: entry["shape"] for n, entry in manifest["tensors"].items()}
    assert len(published) == 843
    assert sorted(manifest["notes"]["unused_tensors"]) == sorted(UNUSED)
    ours = {n: list(value.shape) for n, value in network.state_dict().items()}
    assert ours == {n: shape for n, shape in published.items() if n not in UNUSED}
    unused = manifest["notes"]["unused_elements"]
    total = sum(p.numel() for p in network.parameters())
    assert total == manifest["total_elements"] - unused


@pytest.mark.parametrize(("name", "tokens"), [("pro", 9216), ("lite", 1280)])
def test_a_preset_computes_the_chunk_of_512_pixels(name: str, tokens: int) -> None:
    """On the meta device: shapes only."""
    config = PRESETS[name]
    latents = config.latent_frames(33)
    side = 512 // config.vae_stride_hw
    assert latents * (side // config.patch_hw) ** 2 == tokens
    speech_shape = (33, config.audio_window, config.audio_blocks, config.audio_channels)
    with torch.device("meta"), torch.inference_mode():
        network = FlashHead(config)
        x = torch.empty(1, config.out_dim, latents, side, side)
        audio = network.encode_audio(torch.empty(1, *speech_shape))
        v = network(x, torch.empty(1), torch.empty(1, config.cond_dim, latents, side, side), audio)
    assert v.shape == x.shape
    assert audio.audio[-1].k.shape == (1, latents, config.context_tokens, 12, 128)
