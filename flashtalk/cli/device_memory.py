"""Most memory that was in use: of the process, and of its accelerator."""

from __future__ import annotations

import torch

from flashtalk.cli.bench_soak import peak_rss_bytes


def reset_peak(device: torch.device) -> None:
    """Forget the accelerator's peak so far; the process's cannot be forgotten."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def device_memory(device: torch.device) -> dict[str, int | None]:
    """``peak_rss_bytes`` of the process since its start; what tensors took at most on the
    accelerator since ``reset_peak``, and what was reserved for them (``None`` without one)."""
    on_gpu = device.type == "cuda"
    return {
        "peak_rss_bytes": peak_rss_bytes(),
        "device_peak_bytes": torch.cuda.max_memory_allocated(device) if on_gpu else None,
        "device_reserved_bytes": torch.cuda.max_memory_reserved(device) if on_gpu else None,
    }
