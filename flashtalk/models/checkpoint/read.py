"""Reads weight files as names and memory-mapped tensors, which are loaded on first use."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flashtalk.errors import InputError, WeightsError

State = dict[str, Tensor]

TORCH_SUFFIXES = (".pth", ".pt", ".bin")
SAFETENSORS = ".safetensors"
INDEX_SUFFIX = f"{SAFETENSORS}.index.json"
# Files that a folder may contain, in order of preference.
_TORCH_FILE = "pytorch_model.bin"


def load_state(path: Path) -> State:
    """Returns names and tensors of a checkpoint, on the CPU, in the file's types, memory-mapped.

    Args:
        path: a ``.safetensors`` file, a ``.pth``, ``.pt`` or ``.bin`` file with a flat state dict
            (opened with weights_only), or a folder: sharded safetensors with their index, one
            safetensors file, or ``pytorch_model.bin``.

    Returns:
        Name -> tensor. Unused tensors need no memory; the files must stay in place while the
        tensors are used. ``build`` copies its tensors.

    Raises:
        InputError: the file is missing, or has another format.
        WeightsError: the file is damaged, is not a flat state dict, or shards are missing.
    """
    if path.is_dir():
        return _load_folder(path)
    if not path.is_file():
        raise InputError("weights", path, "no such file")
    if path.suffix == SAFETENSORS:
        return _load_safetensors(path)
    if path.suffix in TORCH_SUFFIXES:
        return _load_torch(path)
    if path.name.endswith(INDEX_SUFFIX):
        return _load_shards(path)
    known = ", ".join((SAFETENSORS, *TORCH_SUFFIXES, INDEX_SUFFIX))
    raise InputError("weights", path, f"a file of a known kind ({known})")


def some_of(names: Sequence[str], limit: int = 10) -> str:
    """Returns the first names of a list, and the number of the others."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def has_weights(folder: Path) -> bool:
    """Whether a folder contains a file for ``load_state``."""
    patterns = (f"*{SAFETENSORS}", f"*{INDEX_SUFFIX}", _TORCH_FILE)
    return any(path.is_file() for pattern in patterns for path in folder.glob(pattern))


def missing_shards(folder: Path) -> list[str]:
    """Returns the missing files that the indices of a folder list, sorted.

    Raises WeightsError if an index cannot be read.
    """
    listed = {s for i in folder.glob(f"*{INDEX_SUFFIX}") for s in _read_index(i).values()}
    return sorted(name for name in listed if not (folder / name).is_file())


def _load_folder(folder: Path) -> State:
    indices = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    files = sorted(folder.glob(f"*{SAFETENSORS}"))
    if len(indices) == 1:
        return _load_shards(indices[0])
    if not indices and len(files) == 1:
        return _load_safetensors(files[0])
    if not indices and not files and (folder / _TORCH_FILE).is_file():
        return _load_torch(folder / _TORCH_FILE)
    found = ", ".join(p.name for p in (*indices, *files)) or "nothing"
    raise WeightsError(
        f"{folder}: weights need one {SAFETENSORS} file, one index of shards, or {_TORCH_FILE}; "
        f"found {found}"
    )


def _load_shards(index: Path) -> State:
    shard_of = _read_index(index)
    folder = index.parent
    names = sorted(set(shard_of.values()))
    if missing := [name for name in names if not (folder / name).is_file()]:
        count = f"{len(missing)} of {len(names)} shards"
        raise WeightsError(f"{folder}: {count} missing: {some_of(missing)}")
    state: State = {}
    for name in names:
        shard = _load_safetensors(folder / name)
        if twice := sorted(state.keys() & shard.keys()):
            raise WeightsError(f"{folder / name}: also in another shard: {some_of(twice)}")
        listed = {tensor for tensor, home in shard_of.items() if home == name}
        if absent := sorted(listed - shard.keys()):
            raise WeightsError(f"{folder / name}: {index.name} lists {some_of(absent)}")
        state |= shard
    return state


def _read_index(index: Path) -> dict[str, str]:
    try:
        shard_of = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        pairs = {str(name): str(shard) for name, shard in shard_of.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{index}: not an index of weights: {error!r}") from error
    # An index is untrusted: it may name files of its own folder only.
    if outside := sorted(s for s in set(pairs.values()) if Path(s).name != s):
        raise WeightsError(f"{index}: shards outside the folder: {some_of(outside)}")
    return pairs


def _load_safetensors(path: Path) -> State:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: damaged or not safetensors: {error}") from error


def _load_torch(path: Path) -> State:
    try:
        # Only the zip format of torch.save can be mapped; the older format is read whole.
        mapped = zipfile.is_zipfile(path)
        state = torch.load(path, map_location="cpu", mmap=mapped, weights_only=True)
    except MemoryError:
        raise
    # Errors of a damaged pickle have no common type.
    except Exception as error:
        first = str(error).strip().splitlines()
        reason = first[0] if first else type(error).__name__
        raise WeightsError(f"{path}: damaged, or more than plain tensors: {reason}") from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise WeightsError(f"{path}: not a flat state dict of names and tensors")
    return dict(state)
