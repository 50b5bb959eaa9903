"""What a rank is asked to do with a transformer; importable, so that it can be sent there."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import load_file
from torch import Tensor

from flashtalk.engine.inference_form import fix_attention
from flashtalk.models.dit import DiT, DiTConfig
from flashtalk.models.flashhead import FlashHead
from flashtalk.ops.attention import Backend
from flashtalk.parallel import Layout, Mesh, apply, join_mesh
from tests.fakes.golden_models import FLASHHEAD_GOLDENS, golden_flashhead, golden_flashhead_config

GOLDEN = Path(__file__).parents[2] / "goldens" / "dit_tiny.safetensors"
MESHES: dict[Layout, Mesh] = {}


@dataclass(frozen=True)
class Shape:
    """Of a random network and its input; ``rows`` and ``columns`` of tokens."""

    heads: int
    head_dim: int
    frames: int
    rows: int
    columns: int
    batch: int = 1
    seed: int = 0
    dtype: torch.dtype = torch.float32

    @property
    def tokens(self) -> int:
        return self.frames * self.rows * self.columns


def mesh_of(layout: Layout) -> Mesh:
    """Groups are made once per process and layout, and kept."""
    if layout not in MESHES:
        MESHES[layout] = join_mesh(layout)
    return MESHES[layout]


def network(shape: Shape) -> DiT:
    """Random weights everywhere; equal on all ranks."""
    torch.manual_seed(shape.seed)
    width = shape.heads * shape.head_dim
    config = dataclasses.replace(
        DiTConfig.tiny(), dim=width, num_heads=shape.heads, ffn_dim=64, num_layers=2
    )
    dit = DiT(config).eval().requires_grad_(False)
    for parameter in dit.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    return dit.to(shape.dtype)


def velocity(dit: DiT, shape: Shape) -> Tensor:
    """One evaluation on random inputs."""
    config, (b, f) = dit.config, (shape.batch, shape.frames)
    noise = torch.Generator().manual_seed(shape.seed + 1)

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=noise)

    size = (2 * shape.rows, 2 * shape.columns)
    context = dit.encode_context(
        draw(b, config.clip_tokens, config.clip_dim), draw(b, 3, config.text_dim)
    )
    windows = draw(
        b, 4 * (f - 1) + 1, config.audio_window, config.audio_blocks, config.audio_channels
    )
    audio = dit.encode_audio(windows)
    x, y = draw(b, config.out_dim, f, *size), draw(b, config.cond_dim, f, *size)
    t = torch.full((b,), 833.33)
    v: Tensor = dit(x, t, y, context, audio)
    return v


def shared_exchanges(layout: Layout, shape: Shape) -> int:
    """How many exchanges this rank has come to for a velocity."""
    mesh = mesh_of(layout)
    before = mesh.traffic.exchanges
    shared_velocity(layout, shape)
    return mesh.traffic.exchanges - before


def shared_velocity(layout: Layout, shape: Shape) -> tuple[Tensor, Counter[str]]:
    """The velocity on this rank of a mesh, and what the rank sent for it."""
    mesh = mesh_of(layout)
    mesh.traffic.sent_bytes.clear()
    dit = network(shape)
    apply(dit, mesh)
    with torch.inference_mode():
        v = velocity(dit, shape)
    return v, Counter(mesh.traffic.sent_bytes)


def velocity_by_kernel(layout: Layout, shape: Shape, kernel: Backend) -> Tensor:
    """The velocity on this rank, where nothing may choose another kernel than the one that is
    named."""
    dit = network(shape)
    fix_attention(dit, kernel)
    apply(dit, mesh_of(layout), kernel=kernel)
    chosen = mock.patch(
        "flashtalk.ops.attention.choose_backend", side_effect=AssertionError("chosen anew")
    )
    with chosen, torch.inference_mode():
        return velocity(dit, shape)


def golden_network() -> DiT:
    """The network whose numbers the published code recorded."""
    notes = json.loads(GOLDEN.with_suffix(".json").read_text())
    dit = DiT(DiTConfig.from_dict(notes["config"] | notes["fixed"])).eval().requires_grad_(False)
    state = {
        k.removeprefix("state."): v for k, v in load_file(GOLDEN).items() if k.startswith("state.")
    }
    dit.load_state_dict(state, strict=True)
    return dit


def golden_velocity(layout: Layout | None) -> Tensor:
    """What the golden network says to the golden input; ``None`` is no mesh at all."""
    golden, dit = load_file(GOLDEN), golden_network()
    if layout is not None:
        apply(dit, mesh_of(layout))
    with torch.inference_mode():
        context = dit.encode_context(
            golden["in.clip_fea_q8"].float() / 32, golden["in.context"][None]
        )
        audio = dit.encode_audio(golden["in.audio_q8"].float() / 32)
        v: Tensor = dit(golden["in.x"][None], golden["in.t1"], golden["in.y"], context, audio)
    return v


def flashhead_golden_velocity(layout: Layout | None, variant: str) -> Tensor:
    """What FlashHead's golden network says to the golden input; ``None`` is no mesh at all."""
    golden = load_file(FLASHHEAD_GOLDENS / f"dit_{variant}_tiny.safetensors")
    network = golden_flashhead(variant)
    if layout is not None:
        apply(network, mesh_of(layout))
    with torch.inference_mode():
        audio = network.encode_audio(golden["in.audio_q8"].float() / 32)
        v: Tensor = network(golden["in.x"], golden["in.t1"], golden["in.y"], audio)
    return v


def flashhead_velocity(layout: Layout | None, variant: str) -> Tensor:
    """A random network with the published number of heads, on a random batch of two."""
    torch.manual_seed(0)
    config = dataclasses.replace(golden_flashhead_config(variant), dim=12 * 8, num_heads=12)
    network = FlashHead(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    size = (2, config.out_dim, config.latent_frames(33), 3 * config.patch_hw, 5 * config.patch_hw)
    x, y = torch.randn(size), torch.randn(size)
    windows = torch.randn(2, 33, config.audio_window, config.audio_blocks, config.audio_channels)
    if layout is not None:
        apply(network, mesh_of(layout))
    with torch.inference_mode():
        v: Tensor = network(x, torch.tensor([1000.0, 625.0]), y, network.encode_audio(windows))
    return v
