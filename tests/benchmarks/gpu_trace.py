"""What a device does during one chunk, and how often the host waits for it: a profiler's trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

WAITS = (
    "cudaStreamSynchronize",
    "cudaDeviceSynchronize",
    "cudaEventSynchronize",
    "cudaMemcpy",
    "aten::_local_scalar_dense",
    "aten::item",
    "aten::nonzero",
)
"""Names of events by which a host waits; the last three exist on a machine without CUDA too."""
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaLaunchKernelExC", "cudaGraphLaunch")
_HOST_BOUND = ("Memcpy DtoH",)
_SHOWN = 20


def traced(run: Callable[[], object], device: torch.device, trace: Path | None) -> dict[str, Any]:
    """Call something once under the profiler, which itself makes it slower.

    Args:
        run: warm already.
        device: where it computes.
        trace: file for the whole trace, in Chrome's format.

    Returns:
        ``waits``, ``launches`` and ``to_host`` (copies from the device) by name with their counts,
        ``device_busy_ms``, and the kernels that took longest.
    """
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
        torch.cuda.synchronize(device)
    with profile(activities=activities) as found:
        run()
        # Leaving the block waits for the device; that wait is not the program's.
    if trace is not None:
        found.export_chrome_trace(str(trace))
    names = Counter(event.name for event in found.events() or ())
    return {
        "waits": {name: names[name] for name in WAITS if names[name]},
        "launches": {name: names[name] for name in LAUNCHES if names[name]},
        "to_host": {name: count for name, count in names.items() if name.startswith(_HOST_BOUND)},
        **_longest(found, device),
    }


def _longest(found: profile, device: torch.device) -> dict[str, Any]:
    """Time of the device by kernel; on a CPU by operator."""
    on_gpu = device.type == "cuda"
    rows: list[tuple[float, int, str]] = []
    for average in found.key_averages():
        if on_gpu and average.device_type != DeviceType.CUDA:
            continue
        busy_us = average.self_device_time_total if on_gpu else average.self_cpu_time_total
        rows.append((busy_us / 1e3, average.count, average.key))
    rows.sort(reverse=True)
    return {
        "device_busy_ms": sum(ms for ms, _, _ in rows),
        "kernels": sum(count for _, count, _ in rows),
        "longest": [
            {"name": name[:120], "ms": ms, "count": count} for ms, count, name in rows[:_SHOWN]
        ],
    }
