"""Properties of FlashHead that no recorded number can show."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.models.flashhead import FlashHead, FlashHeadConfig
from flashtalk.models.flashhead.block import SpeechAttention
from flashtalk.models.transformer.attention import AffineNorm, Gain, SelfAttention
from flashtalk.models.transformer.conditions import AudioKV, KeyValue
from flashtalk.models.transformer.speech import regroup_windows
from flashtalk.ops.token_slice import TokenSlice
from tests.tolerances import assert_rounded

SIZES: dict[str, Any] = {
    "dim": 48,
    "ffn_dim": 64,
    "num_heads": 2,
    "num_layers": 2,
    "audio_blocks": 3,
    "audio_channels": 10,
    "intermediate_dim": 24,
    "context_tokens": 5,
}
CONFIGS = {
    "pro": dataclasses.replace(FlashHeadConfig.pro(), **SIZES),
    "lite": dataclasses.replace(FlashHeadConfig.lite(), **SIZES, in_dim=24, out_dim=12),
}
FRAMES, HEIGHT, WIDTH = 33, 4, 6


@pytest.fixture(params=["pro", "lite"])
def network(request: pytest.FixtureRequest) -> FlashHead:
    """Random weights everywhere: the zero head of a fresh model would hide everything."""
    model = FlashHead(CONFIGS[request.param]).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


@dataclasses.dataclass
class Inputs:
    x: Tensor
    t: Tensor
    y: Tensor
    win: Tensor

    def row(self, i: int) -> "Inputs":
        return Inputs(*(getattr(self, f.name)[i : i + 1] for f in dataclasses.fields(self)))


def inputs(config: FlashHeadConfig, batch: int) -> Inputs:
    latents = config.latent_frames(FRAMES)
    speech = (config.audio_window, config.audio_blocks, config.audio_channels)
    return Inputs(
        x=torch.randn(batch, config.out_dim, latents, HEIGHT, WIDTH),
        t=torch.linspace(1000, 500, batch),
        y=torch.randn(batch, config.cond_dim, latents, HEIGHT, WIDTH),
        win=torch.randn(batch, FRAMES, *speech),
    )


def run(network: FlashHead, given: Inputs) -> Tensor:
    v: Tensor = network(given.x, given.t, given.y, network.encode_audio(given.win))
    return v


def test_keys_and_values_of_a_chunk_equal_those_of_every_evaluation(network: FlashHead) -> None:
    given = inputs(network.config, 2)
    recomputed = network(given.x, given.t, given.y, network.embed_audio(given.win))
    assert_rounded(run(network, given), recomputed)


def test_a_batch_of_two_equals_two_singles(network: FlashHead) -> None:
    given = inputs(network.config, 2)
    singles = torch.cat([run(network, given.row(0)), run(network, given.row(1))])
    assert_rounded(run(network, given), singles)


def test_a_noise_level_embedded_before_is_the_one_embedded_there(network: FlashHead) -> None:
    given = inputs(network.config, 2)
    audio = network.encode_audio(given.win)
    times = network.embed_time(torch.tensor([1000.0, 625.0]))
    early = network(given.x, times.row(1, 2), given.y, audio)
    there = network(given.x, torch.tensor([625.0, 625.0]), given.y, audio)
    assert_rounded(early, there)


def test_guidance_batch_from_cat(network: FlashHead) -> None:
    given = inputs(network.config, 1)
    parts = [network.encode_audio(win) for win in (given.win, torch.zeros_like(given.win))]
    x, t, y = (v.expand(2, *v.shape[1:]) for v in (given.x, given.t, given.y))
    both = network(x, t, y, AudioKV.cat(parts))
    for row, audio in enumerate(parts):
        assert_rounded(both[row : row + 1], network(given.x, given.t, given.y, audio))
    assert (both[0] - both[1]).abs().mean() > 1e-3


def test_a_token_hears_only_its_own_latent_frame(network: FlashHead) -> None:
    config = network.config
    layer, per_frame = SpeechAttention(config), 6
    latents = config.latent_frames(FRAMES)
    x = torch.randn(1, latents * per_frame, config.dim)
    shape = (1, latents, config.context_tokens, config.num_heads, config.head_dim)
    audio = KeyValue(torch.randn(shape), torch.randn(shape))
    whole = TokenSlice.whole(x.shape[1])
    before = layer(x, audio, whole).unflatten(1, (latents, per_frame))
    for frame in range(latents):
        k, v = audio.k.clone(), audio.v.clone()
        k[:, frame] += 1.0
        v[:, frame] -= 1.0
        after = layer(x, KeyValue(k, v), whole).unflatten(1, (latents, per_frame))
        changed = (after != before).flatten(2).any(dim=2)[0]
        assert changed.nonzero().flatten().tolist() == [frame]


def test_a_group_of_eight_keeps_twelve_entries() -> None:
    """Entry values name (frame, offset)."""
    frame = torch.arange(FRAMES).view(1, FRAMES, 1, 1, 1) * 10
    win = frame + torch.arange(5).view(1, 1, 5, 1, 1)
    first, later = regroup_windows(win, CONFIGS["lite"].vae_scale)
    assert first.flatten().tolist() == [0, 1, 2, 3, 4]
    assert later.shape[1:3] == (4, CONFIGS["lite"].group_window)
    for group in range(4):
        a, *inner, last = (10 * (1 + 8 * group + i) for i in range(8))
        expected = [a, a + 1, a + 2, *(i + 2 for i in inner), last + 2, last + 3, last + 4]
        assert later[0, group].flatten().tolist() == expected


def test_every_norm_has_the_epsilon_of_the_configuration() -> None:
    """That of queries for speech shows in no recorded number."""
    network = FlashHead(dataclasses.replace(CONFIGS["pro"], eps=1e-3))
    found = {n: m.eps for n, m in network.named_modules() if isinstance(m, Gain | AffineNorm)}
    assert len(found) == network.config.num_layers * 5
    assert set(found.values()) == {1e-3}
    assert {block.eps for block in network.blocks} | {network.head.eps} == {1e-3}


def test_a_fresh_model_returns_zero_velocity_and_learns() -> None:
    model = FlashHead(CONFIGS["lite"])
    given = inputs(model.config, 1)
    v = model(given.x, given.t, given.y, model.embed_audio(given.win))
    assert v.abs().max() == 0
    (v - given.x).square().mean().backward()
    gradient = model.head.head.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_every_parameter_gets_a_gradient(network: FlashHead) -> None:
    network.requires_grad_(True)
    given = inputs(network.config, 1)
    v = network(given.x, given.t, given.y, network.embed_audio(given.win))
    v.square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_joined_projections_give_the_same(network: FlashHead) -> None:
    given = inputs(network.config, 1)
    before = run(network, given)
    for module in network.modules():
        if isinstance(module, SelfAttention):
            module.join_projections()
    assert_rounded(run(network, given), before)


def test_the_attention_seam_is_used_by_every_attention(network: FlashHead) -> None:
    given = inputs(network.config, 1)
    before = run(network, given)
    calls: list[torch.Size] = []

    def counted(core: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def core_and_note(*given: Any) -> Tensor:
            calls.append(given[0].shape)
            return core(*given)

        return core_and_note

    for module in network.modules():
        if isinstance(module, SelfAttention | SpeechAttention):
            module.core = counted(module.core)
    assert torch.equal(run(network, given), before)
    assert len(calls) == network.config.num_layers * 2


@pytest.mark.parametrize(
    ("dtype", "switch", "rounded"),
    [
        (torch.float32, True, False),
        (torch.float16, True, False),
        (torch.bfloat16, True, True),
        (torch.bfloat16, False, False),
    ],
)
def test_only_bfloat16_weights_round_the_time(
    dtype: torch.dtype, switch: bool, rounded: bool
) -> None:
    config = dataclasses.replace(CONFIGS["pro"], bfloat16_timestep=switch)
    network = FlashHead(config).eval().requires_grad_(False).to(dtype)
    for given, coarse in ((937.5, 936.0), (2500 / 3, 832.0), (625.0, 624.0)):
        found = network.embed_time(torch.tensor([given])).time_BD
        at_coarse = network.embed_time(torch.tensor([coarse])).time_BD
        assert torch.equal(found, at_coarse) == rounded


def test_autocast_keeps_time_in_float32(network: FlashHead) -> None:
    t = torch.tensor([833.33])
    time_BD, six = network.embed_time(t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for ours, exact in zip(network.embed_time(t), (time_BD, six), strict=True):
            assert torch.equal(ours, exact)
        given = inputs(network.config, 1)
        v = run(network, given)
    assert (v - run(network, given)).abs().mean() < 0.05 * v.abs().mean()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"x": torch.zeros(1, 15, 9, HEIGHT, WIDTH)}, "latents"),
        ({"x": torch.zeros(1, 16, 9, 3, WIDTH)}, "latent size"),
        ({"y": torch.zeros(1, 16, 9, HEIGHT, WIDTH + 2)}, "conditioning latents"),
        ({"y": torch.zeros(1, 20, 9, HEIGHT, WIDTH)}, "conditioning latents"),
        ({"win": torch.zeros(1, 32, 5, 3, 10)}, "frames"),
        ({"win": torch.zeros(1, 29, 5, 3, 10)}, "latent frames of audio"),
        ({"win": torch.zeros(1, 33, 3, 3, 10)}, "audio windows"),
    ],
)
def test_misshapen_inputs_are_named(change: dict[str, Tensor], field: str) -> None:
    network = FlashHead(CONFIGS["pro"]).eval().requires_grad_(False)
    with pytest.raises(InputError, match=f"^{field}"):
        run(network, dataclasses.replace(inputs(network.config, 1), **change))


@pytest.mark.parametrize("network", ["lite"], indirect=True)
def test_it_compiles_as_one_graph_and_needs_no_host_value(network: FlashHead) -> None:
    """``fullgraph`` fails on every read of a tensor's value by the host."""
    given = inputs(network.config, 2)
    audio = network.encode_audio(given.win)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        v = compiled(given.x, given.t, given.y, audio)
    assert_rounded(v, run(network, given))
