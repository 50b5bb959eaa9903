"""The plain forms of the networks (tests/oracle) give the recorded numbers, and ours give theirs.

They are what speed is measured against, so they have to be the same networks.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flashtalk.models.dit import DiT, DiTConfig
from flashtalk.models.vae import VAEConfig, VideoVAE
from tests.fakes.golden_models import golden_dit, golden_vae
from tests.oracle.plain_dit import PlainDiT
from tests.oracle.plain_vae import PlainVAE
from tests.tolerances import PUBLISHED, assert_rounded

GOLDENS = Path(__file__).parents[2] / "goldens"


@pytest.fixture(scope="module")
def vae_golden() -> dict[str, Tensor]:
    return load_file(GOLDENS / "vae_tiny.safetensors")


@pytest.fixture(scope="module")
def plain_vae() -> PlainVAE:
    vae = golden_vae()
    return PlainVAE(vae.config, vae.state_dict())


@pytest.mark.parametrize("case", ["enc1", "enc5", "enc33"])
def test_the_plain_vae_encodes_as_published(
    plain_vae: PlainVAE, vae_golden: dict[str, Tensor], case: str
) -> None:
    z = plain_vae.encode(vae_golden[f"{case}.in_q8"].float() / 64)
    torch.testing.assert_close(z[0], vae_golden[f"{case}.out"], atol=PUBLISHED, rtol=0)


@pytest.mark.parametrize("case", ["dec1", "dec9"])
def test_the_plain_vae_decodes_as_published(
    plain_vae: PlainVAE, vae_golden: dict[str, Tensor], case: str
) -> None:
    video = plain_vae.decode(vae_golden[f"{case}.in"][None])
    torch.testing.assert_close(video, vae_golden[f"{case}.out"], atol=PUBLISHED, rtol=0)


@pytest.mark.parametrize("case", ["t1", "t2"])
def test_the_plain_transformer_gives_the_published_velocity(case: str) -> None:
    golden, dit = load_file(GOLDENS / "dit_tiny.safetensors"), golden_dit()
    v = PlainDiT(dit.config, dit.state_dict())(
        golden["in.x"][None],
        golden[f"in.{case}"],
        golden["in.y"],
        golden["in.clip_fea_q8"].float() / 32,
        golden["in.context"][None],
        golden["in.audio_q8"].float() / 32,
    )
    torch.testing.assert_close(v, golden[f"out.{case}"], atol=PUBLISHED, rtol=0)


@pytest.mark.parametrize("latents", [1, 2, 4])
def test_the_vae_is_the_plain_one(latents: int) -> None:
    torch.manual_seed(latents)
    vae = VideoVAE(VAEConfig(dim=8)).eval().requires_grad_(False)
    plain = PlainVAE(vae.config, vae.state_dict())
    video = torch.rand(1, 3, 4 * latents - 3, 32, 48) * 2 - 1
    z = torch.randn(1, 16, latents, 3, 5)
    assert_rounded(vae.encode(video), plain.encode(video), "encode")
    assert_rounded(vae.decode(z), plain.decode(z), "decode")


@torch.no_grad()
def test_the_transformer_is_the_plain_one() -> None:
    torch.manual_seed(0)
    dit = DiT(DiTConfig.tiny()).eval()
    torch.nn.init.normal_(dit.head.head.weight, std=0.02)
    cfg, plain = dit.config, PlainDiT(dit.config, dit.state_dict())
    x, t = torch.randn(2, cfg.out_dim, 9, 4, 6), torch.tensor([937.5, 250.0])
    y = torch.randn(2, cfg.cond_dim, 9, 4, 6)
    clip = torch.randn(2, cfg.clip_tokens, cfg.clip_dim)
    text = torch.randn(2, 7, cfg.text_dim)
    windows = torch.randn(2, 33, cfg.audio_window, cfg.audio_blocks, cfg.audio_channels)
    ours = dit(x, t, y, dit.encode_context(clip, text), dit.encode_audio(windows))
    assert_rounded(ours, plain(x, t, y, clip, text, windows))
