"""What a rank is asked to do with a VAE; importable, so that it can be sent there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from flashtalk.models.vae import VAEConfig, VAEState, VideoVAE
from flashtalk.parallel import Grid, PictureMesh, apply, join_grid
from tests.fakes.golden_models import VAE_GOLDEN, golden_vae

CONFIGS = {
    "published": VAEConfig(dim=8, num_res_blocks=1),
    "tiny": VAEConfig.tiny(),
    "pyramid": VAEConfig(
        dim=8,
        dim_mult=(2, 3, 3),
        num_res_blocks=1,
        decoder_res_blocks=1,
        spatial_down=(True, False),
        temporal_down=(True, True),
        patch_size=4,
        linear_shortcuts=True,
        linear_bypass=True,
    ),
}
MESHES: dict[Grid, PictureMesh] = {}
Call = Literal["encode", "decode", "encode in steps", "decode in steps"]


@dataclass(frozen=True)
class Picture:
    """A random network and its input; sizes in latent cells."""

    config: str
    rows: int
    columns: int
    latents: int = 3
    batch: int = 1
    seed: int = 0


def mesh_of(grid: Grid) -> PictureMesh:
    """Groups are made once per process and grid, and kept."""
    if grid not in MESHES:
        MESHES[grid] = join_grid(grid)
    return MESHES[grid]


def network(name: str, seed: int) -> VideoVAE:
    """Random weights, none of them zero; equal on all ranks."""
    torch.manual_seed(seed)
    vae = VideoVAE(CONFIGS[name]).eval().requires_grad_(False)
    for weight in vae.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.05)
    return vae


@torch.inference_mode()
def result(vae: VideoVAE, picture: Picture, call: Call) -> Tensor:
    """One call on random inputs; a streamed one in steps of one latent, then the rest."""
    noise = torch.Generator().manual_seed(picture.seed)
    cells = picture.rows, picture.columns
    if call.startswith("decode"):
        z = torch.randn(picture.batch, 16, picture.latents, *cells, generator=noise)
        if call == "decode":
            return vae.decode(z)
        parts, state = [], VAEState()
        for part in z.split([1, picture.latents - 1], dim=2):
            frames, state = vae.decode_step(part, state)
            parts.append(frames)
        return torch.cat(parts, dim=2)
    length = 4 * picture.latents - 3
    size = 8 * cells[0], 8 * cells[1]
    video = torch.rand(picture.batch, 3, length, *size, generator=noise) * 2 - 1
    if call == "encode":
        return vae.encode(video)
    parts, state = [], VAEState()
    for part in video.split([1, length - 1], dim=2):
        latents, state = vae.encode_step(part, state)
        parts.append(latents)
    return torch.cat(parts, dim=2)


def sliced_exchanges(grid: Grid, picture: Picture, call: Call) -> int:
    """How many exchanges this rank has come to for a result."""
    mesh = mesh_of(grid)
    before = mesh.everyone.traffic.exchanges
    sliced_result(grid, picture, call)
    return mesh.everyone.traffic.exchanges - before


def sliced_result(
    grid: Grid, picture: Picture, call: Call, exact: bool = True
) -> tuple[Tensor, Counter[str]]:
    """The result on this rank of a grid, and what the rank sent for it."""
    mesh = mesh_of(grid)
    mesh.everyone.traffic.sent_bytes.clear()
    vae = network(picture.config, picture.seed)
    apply(vae, mesh, exact=exact)
    return result(vae, picture, call), Counter(mesh.everyone.traffic.sent_bytes)


@torch.inference_mode()
def golden_result(grid: Grid | None, case: str, exact: bool) -> Tensor:
    """A recorded case in slices; ``None`` is the whole picture in one process."""
    golden, vae = load_file(VAE_GOLDEN), golden_vae()
    if grid is not None:
        apply(vae, mesh_of(grid), exact=exact)
    if case.startswith("sliceenc"):
        return vae.encode(golden[f"{case}.in_q8"].float() / 64)[0]
    return vae.decode(golden[f"{case}.in"][None])
