"""Joined, rounded and compiled models give what the plain ones give."""

import shutil

import numpy as np
import pytest
import torch
from torch import Tensor

from flashtalk.diffusion.color import ReferenceColor, match_color
from flashtalk.engine import (
    Architecture,
    Pipeline,
    Sampling,
    compiled,
    random_pipeline,
    start,
    talk,
)
from flashtalk.engine.compiled import compile_transformer, compile_vae, graph_count
from flashtalk.engine.inference_form import (
    fix_attention,
    join_projections,
    lay_out_weights,
    to_float8,
)
from flashtalk.engine.placement import Placement
from flashtalk.errors import InputError
from flashtalk.models.dit import DiT, DiTConfig
from flashtalk.models.dit.block import Block
from flashtalk.models.vae import VAEConfig, VAEState, VideoVAE
from flashtalk.ops.float8 import Float8Linear, quantise
from flashtalk.ops.linear import Linear
from tests.tolerances import assert_rounded

SIZE = (9, 4, 6)


def transformer() -> DiT:
    torch.manual_seed(0)
    dit = DiT(DiTConfig.tiny()).eval().requires_grad_(False)
    torch.nn.init.normal_(dit.head.head.weight, std=0.02)
    return dit


def velocity(dit: DiT, seed: int = 1) -> Tensor:
    cfg = dit.config
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(1, *shape, generator=random)

    with torch.inference_mode():
        context = dit.encode_context(
            normal(cfg.clip_tokens, cfg.clip_dim), normal(cfg.text_len, cfg.text_dim)
        )
        audio = dit.encode_audio(normal(33, cfg.audio_window, cfg.audio_blocks, cfg.audio_channels))
        x, y = normal(cfg.out_dim, *SIZE), normal(cfg.cond_dim, *SIZE)
        v: Tensor = dit(x, torch.tensor([500.0]), y, context, audio)
    return v


def difference(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())


def test_joined_projections_are_the_three() -> None:
    dit, plain = transformer(), velocity(transformer())
    join_projections(dit)
    assert_rounded(velocity(dit), plain)
    assert not [name for name in dit.state_dict() if ".self_attn.q." in name]


@pytest.mark.parametrize("rows", [(3, 32), (1, 16)])
def test_rows_in_float8_are_off_by_their_last_bit(rows: tuple[int, int]) -> None:
    x = torch.randn(rows) * torch.logspace(-3, 3, rows[0]).unsqueeze(1)
    quantised, scale = quantise(x)
    assert (quantised.float() * scale - x).abs().max(dim=-1).values.le(x.abs().amax(-1) / 16).all()
    zero, scale = quantise(torch.zeros(2, 16))
    assert torch.equal(zero.float() * scale, torch.zeros(2, 16))


def test_float8_is_near_bfloat16() -> None:
    """The gate of the precision: a step differs by what three bits of 11 layers can make of it."""
    dit = transformer().to(torch.bfloat16)
    plain = velocity(dit)
    assert to_float8(dit) == 10 * dit.config.num_layers
    rounded = velocity(dit)
    assert 0 < difference(rounded, plain) < 0.1
    # Keys and values of the session and of the chunk stay what they were.
    block = dit.blocks[0]
    assert isinstance(block, Block)
    assert isinstance(block.cross_attn.k, Linear)
    assert isinstance(block.self_attn.q, Float8Linear)


def test_weights_that_are_laid_out_are_the_same() -> None:
    torch.manual_seed(0)
    vae = VideoVAE(VAEConfig(dim=8)).eval().requires_grad_(False)
    z = torch.randn(1, 16, 2, 2, 2)
    plain = vae.decode(z)
    lay_out_weights(vae)
    assert_rounded(vae.decode(z), plain)
    weight = vae.get_parameter("decoder.conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)


@torch.inference_mode()
def test_all_blocks_share_one_graph_per_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    dit, plain = transformer(), velocity(transformer())
    compile_transformer(dit, backend="eager")
    before = graph_count()
    assert_rounded(velocity(dit), plain)
    assert graph_count() == before + 1
    velocity(dit, seed=2)
    assert graph_count() == before + 1


@torch.inference_mode()
def test_a_compiled_vae_streams_without_compiling_again() -> None:
    torch.manual_seed(0)
    vae = VideoVAE(VAEConfig(dim=8)).eval()
    z, video = torch.randn(1, 16, 4, 2, 2), torch.rand(1, 3, 5, 16, 16)
    decoded, encoded = vae.decode(z), vae.encode(video)
    compile_vae(vae, backend="eager")

    def again() -> None:
        assert_rounded(vae.encode(video), encoded)
        first, state = vae.decode_step(z[:, :, :3], VAEState())
        later, _ = vae.decode_step(z[:, :, 3:], state)
        assert_rounded(torch.cat((first, later), dim=2), decoded)

    again()
    graphs = graph_count()
    again()
    assert graph_count() == graphs


def test_colours_compile_as_one_graph() -> None:
    video, portrait = torch.rand(1, 3, 4, 8, 8) * 2 - 1, torch.rand(1, 3, 8, 8) * 2 - 1
    reference = ReferenceColor.of(portrait)
    traced = torch.compile(match_color, backend="eager", fullgraph=True, dynamic=False)
    assert_rounded(traced(video, reference, 0.7), match_color(video, reference, 0.7))


@pytest.fixture
def without_inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced and run, but not built: building takes a minute, and is torch's."""
    monkeypatch.setattr(compiled, "BACKEND", "eager")


@pytest.mark.usefixtures("without_inductor")
@pytest.mark.parametrize("dtype", ["float32", "float8"])
def test_a_pipeline_may_be_compiled(dtype: str) -> None:
    portrait = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    speech = np.random.default_rng(1).normal(0, 0.1, 2 * 28 * 640).astype(np.float32)

    def frames(pipeline: Pipeline) -> list[np.ndarray]:
        return [chunk.frames_THWC for chunk in talk(pipeline, portrait, [speech])]

    sampling = Sampling(steps=2, height_px=64, width_px=64)
    plain, other = (
        random_pipeline(Architecture.tiny(), sampling=sampling, dtype=dtype, compiled=on)
        for on in (False, True)
    )
    assert start(other, portrait).reference.size_hw == (64, 64)
    for one, two in zip(frames(plain), frames(other), strict=True):
        assert np.abs(one.astype(int) - two).mean() < 0.5


def test_what_a_placement_cannot_have_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Placement.choose("tiny", "cpu", "float8").float8
    assert Placement.choose("tiny", "cpu", "float8").dtype == torch.bfloat16
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"compile: on: needs a C\+\+ compiler"):
        Placement.choose("tiny", "cpu", compiled=True)
    with pytest.raises(InputError, match="dtype: fp8: auto, float32, bfloat16, float8"):
        Placement.choose("tiny", "cpu", "fp8")


def test_the_kernel_of_attention_may_be_chosen() -> None:
    placed = Placement.choose("tiny", "cpu", attention="sdpa")
    assert placed.attention == "sdpa"
    dit, plain = transformer(), velocity(transformer())
    fix_attention(dit, "sdpa")
    assert_rounded(velocity(dit), plain)
    with pytest.raises(InputError, match=r"attention: flash3: auto, .*sdpa"):
        Placement.choose("tiny", "cpu", attention="flash3")
