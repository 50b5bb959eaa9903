"""Digests of a kept measurement's dependencies: numbers, networks, files, our own code."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from flashtalk.arrays import AnyArray

_DIGITS = 32
_ROOT = Path(__file__).parents[2]
# The sources that make, draw or measure a reference video.  A change of a comment measures again,
# too: that costs seconds, while a forgotten version number would give a wrong table.
_CODE = ("training/evaluate", "training/data/synthtalk", "flashtalk/models/vae")


def digest_of(facts: Mapping[str, object]) -> str:
    """Returns a digest of values with a text form; the order of the names does not matter."""
    text = json.dumps(facts, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def digest_of_arrays(arrays: Iterable[AnyArray]) -> str:
    """Returns a digest of shapes, types and numbers."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:_DIGITS]


def digest_of_network(network: nn.Module) -> str:
    """Returns a digest of the names and numbers of all weights and buffers."""
    state = sorted(network.state_dict().items())
    names = digest_of({"names": [name for name, _ in state]})
    numbers = digest_of_arrays(value.detach().cpu().float().numpy() for _, value in state)
    return digest_of({"names": names, "numbers": numbers})


def digest_of_code() -> str:
    """Returns a digest of our own sources of a reading, and of the versions of their libraries."""
    digest = hashlib.sha256(f"{torch.__version__} {np.__version__}".encode())
    for folder in _CODE:
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(_ROOT)} ".encode() + path.read_bytes())
    return digest.hexdigest()[:_DIGITS]


def signature_of_files(path: Path | None) -> list[str]:
    """Returns names, sizes and times of a file or of all files below a folder of large weights."""
    if path is None:
        return []
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [
        f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}"
        for file in files
        if file.is_file()
    ]


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
