"""Exports finished models: safetensors and ``config.json``, written atomically."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from training.core.sharding import full_tensor


def save_model(
    model: nn.Module,
    config: Mapping[str, object],
    directory: Path,
    *,
    stem: str = "model",
    dtype: torch.dtype = torch.float32,
    write: bool = True,
) -> None:
    """Writes the model's state dict in ``dtype`` as ``STEM.safetensors``, and its config.

    Collective; the first rank writes.
    """
    tensors = {}
    for name, shard in model.state_dict().items():
        tensor = full_tensor(shard)
        if write:
            kept = tensor.to(dtype) if tensor.is_floating_point() else tensor
            tensors[name] = kept.contiguous().cpu()
    if not write:
        return
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f"{stem}.safetensors.partial"
    save_file(tensors, partial)
    os.replace(partial, directory / f"{stem}.safetensors")
    (directory / "config.json").write_text(json.dumps(dict(config), indent=2) + "\n")
