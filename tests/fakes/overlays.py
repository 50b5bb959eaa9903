"""Overlays at small size: a folder without audio layers with a file that has them; LoRA files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from flashtalk.engine import FlashTalkPipeline
from tests import seeds
from tests.fakes.published import write_shards
from tests.fakes.weights import write_published_layout

STEM = "diffusion_pytorch_model"
_AUDIO = re.compile(r"audio_proj\..*|blocks\.\d+\.(audio_cross_attn|norm_x)\..*")

# The names of one layer's tensors, as publishers write them.
Naming = Callable[[str, str], str]
_PEFT = {"down": "lora_A.weight", "up": "lora_B.weight", "alpha": "alpha"}
_KOHYA = {"down": "lora_down.weight", "up": "lora_up.weight", "alpha": "alpha"}
_ADAPTER = {"down": "lora_A.default.weight", "up": "lora_B.default.weight", "alpha": "alpha"}
_OLD = {"down": "lora.down.weight", "up": "lora.up.weight", "alpha": "alpha"}
_DIFFUSERS = {
    "self_attn.q": "attn1.to_q",
    "self_attn.o": "attn1.to_out.0",
    "cross_attn.k": "attn2.to_k",
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}


def _renamed(layer: str) -> str:
    block, _, module = re.sub(r"^(blocks\.\d+)\.", r"\1|", layer).partition("|")
    return f"{block}.{_DIFFUSERS[module]}" if module in _DIFFUSERS else layer


NAMINGS: dict[str, Naming] = {
    "kohya": lambda layer, part: f"lora_unet_{layer.replace('.', '_')}.{_KOHYA[part]}",
    "kohya, two underscores": lambda layer, part: (
        f"lora_unet__{layer.replace('.', '_')}.{_KOHYA[part]}"
    ),
    "kohya, diffusers' modules": lambda layer, part: (
        f"lora_unet_{_renamed(layer).replace('.', '_')}.{_KOHYA[part]}"
    ),
    "bare": lambda layer, part: f"{layer}.{_PEFT[part]}",
    "diffusion_model": lambda layer, part: f"diffusion_model.{layer}.{_PEFT[part]}",
    "diffusion_model, down and up": lambda layer, part: f"diffusion_model.{layer}.{_KOHYA[part]}",
    "transformer": lambda layer, part: f"transformer.{layer}.{_PEFT[part]}",
    "diffusers": lambda layer, part: f"transformer.{_renamed(layer)}.{_PEFT[part]}",
    "diffusers, old": lambda layer, part: f"transformer.{_renamed(layer)}.{_OLD[part]}",
    "peft": lambda layer, part: f"base_model.model.{layer}.{_ADAPTER[part]}",
    "peft of a wrapped model": lambda layer, part: (
        f"base_model.model.diffusion_model.{layer}.{_PEFT[part]}"
    ),
}


def is_audio(name: str) -> bool:
    """Whether a tensor of the transformer is one that Wan2.1 lacks."""
    return _AUDIO.fullmatch(name) is not None


def write_wan(pipeline: FlashTalkPipeline, folder: Path) -> tuple[Path, Path]:
    """The published layout without audio layers, and beside it a file with them."""
    base = write_published_layout(pipeline, folder / "Wan2.1")
    for old in base.glob(f"{STEM}*"):
        old.unlink()
    state = {n: t.contiguous() for n, t in pipeline.denoiser.network.state_dict().items()}
    write_shards({n: t for n, t in state.items() if not is_audio(n)}, base, STEM, 3)
    (base / "chinese-wav2vec2-base").rename(folder / "chinese-wav2vec2-base")
    overlay = folder / "InfiniteTalk" / "single" / "infinitetalk.safetensors"
    overlay.parent.mkdir(parents=True)
    save_file({n: t for n, t in state.items() if is_audio(n)}, overlay)
    return base, overlay


def lora_pair(shape: tuple[int, ...], rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """A random pair: ``down`` [r, in], ``up`` [out, r]."""
    generator = torch.Generator().manual_seed(seed + seeds.offset())
    down = torch.randn((rank, *shape[1:]), generator=generator)
    up = torch.randn((shape[0], rank, *(1 for _ in shape[2:])), generator=generator)
    return down, up


def lora_tensors(
    shapes: Mapping[str, tuple[int, ...]], naming: Naming, *, rank: int = 2, alpha: float | None
) -> dict[str, Tensor]:
    """The tensors of a LoRA file for these layers."""
    tensors: dict[str, Tensor] = {}
    for number, (layer, shape) in enumerate(shapes.items()):
        down, up = lora_pair(shape, rank, number)
        tensors |= {naming(layer, "down"): down, naming(layer, "up"): up}
        if alpha is not None:
            tensors[naming(layer, "alpha")] = torch.tensor(alpha)
    return tensors


def write_lora(
    path: Path, state: Mapping[str, Tensor], naming: str = "bare", *, alpha: float | None = 1.0
) -> Path:
    """A LoRA file for the attention queries of a network."""
    shapes = {
        name.removesuffix(".weight"): tuple(tensor.shape)
        for name, tensor in state.items()
        if name.endswith("attn.q.weight")
    }
    save_file(lora_tensors(shapes, NAMINGS[naming], alpha=alpha), path)
    return path


def changed_copy(source: Path, target: Path, change: Callable[[str, Tensor], Tensor]) -> Path:
    """A file of tensors with other values."""
    save_file({n: change(n, t).contiguous() for n, t in load_file(source).items()}, target)
    return target
