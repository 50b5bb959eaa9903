"""Merges overlays into the tensors of a folder of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint.lora import is_lora, read_lora
from flashtalk.models.checkpoint.merged_state import Change, MergedState
from flashtalk.models.checkpoint.read import load_state, some_of
from flashtalk.overlays import FIELD, Overlay

_FLOATING = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
# Last parts of names that only quantised files have.
_QUANTISED_ENDS = frozenset(
    {
        "scale",
        "scales",
        "_scale",
        "_data",
        "weight_scale",
        "scale_weight",
        "input_scale",
        "output_scale",
        "scaled_fp8",
        "qweight",
        "qzeros",
        "zero_point",
        "absmax",
        "quant_state",
    }
)


class OverlayEffect(NamedTuple):
    """What an overlay does to the tensors below it.

    Args:
        overlay: the file and its strength.
        kind: ``tensors``, ``LoRA, rank 32``, or ``differences``.
        changed: number of tensors that it replaces or changes.
        added: number of tensors that it adds.
    """

    overlay: Overlay
    kind: str
    changed: int
    added: int


class Merged(NamedTuple):
    """The merged tensors, and the effect of each overlay."""

    state: Mapping[str, Tensor]
    effects: tuple[OverlayEffect, ...]


def read_overlay(overlay: Overlay) -> Mapping[str, Tensor]:
    """Returns the tensors of an overlay, memory-mapped.

    Raises:
        InputError: as ``Overlay.check``.
        WeightsError: the file is damaged, empty or quantised.
    """
    overlay.check()
    tensors = load_state(overlay.path)
    if not tensors:
        raise WeightsError(f"{overlay.path}: changes nothing: it has no tensors")
    quantised = [
        f"{name} {str(tensor.dtype).removeprefix('torch.')}"
        for name, tensor in tensors.items()
        if name.rpartition(".")[2] in _QUANTISED_ENDS
        # alpha may be an integer.
        or (tensor.dtype not in _FLOATING and not name.endswith(".alpha"))
    ]
    if quantised:
        raise WeightsError(
            f"{overlay.path}: a quantised file; overlays have float tensors: {some_of(quantised)}"
        )
    return tensors


def merge(
    base: Mapping[str, Tensor], overlays: Iterable[tuple[Overlay, Mapping[str, Tensor]]]
) -> Merged:
    """Merges overlays into a state in their order: a later one overrides and changes earlier ones.

    Names and shapes of plain tensors are not checked: ``check_state`` reports them with the rest.

    Args:
        base: names and tensors of a folder, under the network's names.
        overlays: each with its tensors.

    Returns:
        The merged state; LoRA changes are computed when a tensor is read (``MergedState``).

    Raises:
        InputError: a strength for plain tensors.
        WeightsError: a LoRA that does not fit, or an overlay that changes nothing.
    """
    tensors, changes = dict(base), dict[str, list[Change]]()
    effects = []
    for overlay, given in overlays:
        if is_lora(given):
            effects.append(_add(overlay, given, tensors, changes))
        else:
            effects.append(_override(overlay, given, tensors, changes))
    return Merged(MergedState(tensors, changes) if changes else tensors, tuple(effects))


def _override(
    overlay: Overlay,
    given: Mapping[str, Tensor],
    tensors: dict[str, Tensor],
    changes: dict[str, list[Change]],
) -> OverlayEffect:
    if overlay.strength != 1.0:
        limit = "only a LoRA has a strength; this file has plain tensors"
        raise InputError(FIELD, overlay.name, limit)
    known = given.keys() & tensors.keys()
    if len(known) == len(given) and not any(
        name in changes or not _equal(tensor, tensors[name]) for name, tensor in given.items()
    ):
        raise _without_effect(overlay, "all of its tensors are there already")
    for name, tensor in given.items():
        tensors[name] = tensor
        changes.pop(name, None)
    return OverlayEffect(overlay, "tensors", len(known), len(given) - len(known))


def _add(
    overlay: Overlay,
    given: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    changes: dict[str, list[Change]],
) -> OverlayEffect:
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    lora = read_lora(given, shapes, overlay.strength, overlay.path)
    if all(change.zero for each in lora.changes.values() for change in each):
        raise _without_effect(overlay, "all of its changes are zero")
    for name, more in lora.changes.items():
        changes.setdefault(name, []).extend(more)
    kind = "differences"
    if lora.ranks:
        first, last = lora.ranks[0], lora.ranks[-1]
        kind = f"LoRA, rank {first}" if first == last else f"LoRA, ranks {first} to {last}"
    return OverlayEffect(overlay, kind, len(lora.changes), 0)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _without_effect(overlay: Overlay, reason: str) -> WeightsError:
    return WeightsError(f"{overlay.path}: changes nothing: {reason}")
