"""Peak memory of the process and its accelerator."""

from __future__ import annotations

import torch

from flashtalk.cli.bench_soak import peak_rss_bytes


def reset_peak(device: torch.device) -> None:
    """Resets the accelerator's peak; the process's cannot be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def device_memory(device: torch.device) -> dict[str, int | None]:
    """Returns ``peak_rss_bytes`` of the process since its start, and the peak of tensors and of
    reserved memory on the accelerator since ``reset_peak`` (``None`` without one)."""
    on_gpu = device.type == "cuda"
    return {
        "peak_rss_bytes": peak_rss_bytes(),
        "device_peak_bytes": torch.cuda.max_memory_allocated(device) if on_gpu else None,
        "device_reserved_bytes": torch.cuda.max_memory_reserved(device) if on_gpu else None,
    }
