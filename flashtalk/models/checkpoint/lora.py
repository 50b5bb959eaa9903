"""LoRA files: the names that their publishers use, and the changes that they make.

A layer's pair is ``A`` ("down", [r, in]) and ``B`` ("up", [out, r]); its weight becomes
``W + strength * alpha / r * B @ A``. Without a tensor ``alpha`` it is r. Some files also contain
plain differences of weights (``diff``) and biases (``diff_b``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from flashtalk.errors import WeightsError
from flashtalk.models.checkpoint.merged_state import Change, Difference, LowRank
from flashtalk.models.checkpoint.read import some_of

_DOWN, _UP, _ALPHA = "down", "up", "alpha"
# What a tensor is, by the end of its name.
_ENDS = {
    ".lora_A.weight": _DOWN,
    ".lora_A.default.weight": _DOWN,
    ".lora_down.weight": _DOWN,
    ".lora.down.weight": _DOWN,
    ".lora_B.weight": _UP,
    ".lora_B.default.weight": _UP,
    ".lora_up.weight": _UP,
    ".lora.up.weight": _UP,
    ".alpha": _ALPHA,
    ".diff": "weight",
    ".diff_b": "bias",
}
_PREFIXES = (
    "base_model.model.",
    "diffusion_model.",
    "transformer.",
    "model.",
    "lora_unet__",
    "lora_unet_",
)
# Modules of the same layers in diffusers, which gives them other names.
_DIFFUSERS = (
    (re.compile(r"\.self_attn\.([qkv])$"), r".attn1.to_\1"),
    (re.compile(r"\.self_attn\.o$"), ".attn1.to_out.0"),
    (re.compile(r"\.cross_attn\.([qkv])$"), r".attn2.to_\1"),
    (re.compile(r"\.cross_attn\.o$"), ".attn2.to_out.0"),
    (re.compile(r"\.cross_attn\.([kv])_img$"), r".attn2.add_\1_proj"),
    (re.compile(r"\.ffn\.0$"), ".ffn.net.0.proj"),
    (re.compile(r"\.ffn\.2$"), ".ffn.net.2"),
    (re.compile(r"^head\.head$"), "proj_out"),
    (re.compile(r"^time_embedding\.0$"), "condition_embedder.time_embedder.linear_1"),
    (re.compile(r"^time_embedding\.2$"), "condition_embedder.time_embedder.linear_2"),
    (re.compile(r"^text_embedding\.0$"), "condition_embedder.text_embedder.linear_1"),
    (re.compile(r"^text_embedding\.2$"), "condition_embedder.text_embedder.linear_2"),
    (re.compile(r"^time_projection\.1$"), "condition_embedder.time_proj"),
    (re.compile(r"^img_emb\.proj\.1$"), "condition_embedder.image_embedder.ff.net.0.proj"),
    (re.compile(r"^img_emb\.proj\.3$"), "condition_embedder.image_embedder.ff.net.2"),
)


@dataclass(frozen=True)
class LoraChanges:
    """What a LoRA file adds.

    Args:
        changes: name of a network's tensor -> what is added to it.
        ranks: all ranks in the file, ascending; none in a file of plain differences.
    """

    changes: Mapping[str, Sequence[Change]]
    ranks: tuple[int, ...]


@dataclass
class _Problems:
    """Names of a file's tensors by what is wrong with them."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        self.found.setdefault(kind, []).append(name)

    def check(self, source: object) -> None:
        if self.found:
            text = "; ".join(f"{kind}: {some_of(names)}" for kind, names in self.found.items())
            raise WeightsError(f"{source} does not fit the network: {text}")


def is_lora(names: Iterable[str]) -> bool:
    """Whether tensors of these names belong to a LoRA file."""
    return any(_parse(name) is not None for name in names)


def read_lora(
    tensors: Mapping[str, Tensor],
    network: Mapping[str, Sequence[int]],
    strength: float,
    source: object,
) -> LoraChanges:
    """Returns the changes of a LoRA file.

    Args:
        tensors: of the file.
        network: name -> shape of the network's tensors.
        strength: factor of all changes.
        source: origin of the tensors, for errors.

    Raises:
        WeightsError: names that are not understood or belong to no layer, incomplete pairs, or
            shapes that do not fit; one message lists them all.
    """
    problems, layers = _Problems(), _aliases(network)
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if (parsed := _parse(name)) is None:
            problems.add("not understood", name)
        elif (layer := _find(parsed[0], layers)) is None:
            problems.add("no such layer", name)
        elif parsed[1] in parts.setdefault(layer, {}):
            problems.add("twice", name)
        else:
            parts[layer][parsed[1]] = tensor
    changes: dict[str, list[Change]] = {}
    ranks: set[int] = set()
    for layer, found in parts.items():
        pair = _pair(layer, found, network, strength, problems)
        if pair is not None:
            ranks.add(len(pair.down))
            changes.setdefault(f"{layer}.weight", []).append(pair)
        for kind in ("weight", "bias"):
            if (difference := found.get(kind)) is None:
                continue
            target = layer if kind == "weight" and layer in network else f"{layer}.{kind}"
            if tuple(difference.shape) != tuple(network.get(target, ())):
                problems.add("of another shape", f"{target} {list(difference.shape)}")
            else:
                changes.setdefault(target, []).append(Difference(difference, strength))
    problems.check(source)
    return LoraChanges(changes, tuple(sorted(ranks)))


def _pair(
    layer: str,
    found: Mapping[str, Tensor],
    network: Mapping[str, Sequence[int]],
    strength: float,
    problems: _Problems,
) -> LowRank | None:
    """Returns the pair of a layer, if there is a complete one that fits."""
    down, up, alpha = found.get(_DOWN), found.get(_UP), found.get(_ALPHA)
    if down is None or up is None:
        if down is not None:
            problems.add("A without B", layer)
        elif up is not None:
            problems.add("B without A", layer)
        elif alpha is not None:
            problems.add("alpha without A and B", layer)
        return None
    shape = network.get(f"{layer}.weight", ())
    rank, fits = down.shape[0] if down.ndim else 0, down.ndim >= 2 and up.ndim >= 2
    # A pair of a convolution has the kernel's axes in A, and axes of length 1 in B.
    wanted = (*shape[:1], rank, rank, math.prod(shape[1:]))
    if not rank or not fits or (*up.flatten(1).shape, *down.flatten(1).shape) != wanted:
        sizes = f"A {list(down.shape)}, B {list(up.shape)}, weight {list(shape)}"
        problems.add("ranks or shapes that do not fit", f"{layer} ({sizes})")
        return None
    scale = float(rank)
    if alpha is not None:
        scale = float(alpha) if alpha.numel() == 1 else math.nan
        if not math.isfinite(scale):
            problems.add("alpha is not a number", layer)
            return None
    return LowRank(down, up, strength * scale / rank)


def _parse(name: str) -> tuple[str, str] | None:
    """Splits a name into a layer and what the tensor is."""
    for end, kind in _ENDS.items():
        if name.endswith(end):
            return name.removesuffix(end), kind
    return None


def _aliases(network: Iterable[str]) -> dict[str, str]:
    """Returns all names of each layer with a weight: the network's, diffusers', underscored.

    A tensor that is no layer's weight or bias, such as a modulation, is known by its own name.
    """
    layers: dict[str, str] = {}
    for name in network:
        if name.endswith(".bias"):
            continue
        layer = name.removesuffix(".weight")
        names = [layer, *(p.sub(other, layer) for p, other in _DIFFUSERS if p.search(layer))]
        for each in names:
            layers[each] = layers[each.replace(".", "_")] = layer
    return layers


def _find(name: str, layers: Mapping[str, str]) -> str | None:
    """Returns the network's layer of a name, with any of the known prefixes."""
    while name not in layers:
        prefix = next((p for p in _PREFIXES if name.startswith(p)), None)
        if prefix is None:
            return None
        name = name.removeprefix(prefix)
    return layers[name]
