"""The properties of this machine: versions, memory, devices, codecs, the speech synthesiser."""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import av
import torch

from flashtalk.ops.attention import available_backends
from flashtalk.ops.widened import EMULATES_BF16

PACKAGES = ("flashtalk", "torch", "transformers", "numpy", "av", "pillow", "safetensors")
# The formats that `generate` writes, and common sound formats.
ENCODERS = ("libx264", "aac")
DECODERS = ("aac", "flac", "mp3", "opus", "pcm_s16le", "vorbis")
_MEMINFO = Path("/proc/meminfo")
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Device:
    """A compute device.

    Attributes:
        name: its name in torch (``cpu``, ``cuda:0``, ``mps``).
        model: the model name, or the instruction set of a CPU.
        memory_bytes: total; ``free_bytes``: available to a new process.
        attention: kernels for half-precision heads, fastest first.
    """

    name: str
    model: str
    memory_bytes: int
    free_bytes: int
    attention: tuple[str, ...]


@dataclass(frozen=True)
class Machine:
    """All properties for `doctor`; plain values, ready for JSON."""

    system: str
    python: str
    packages: dict[str, str | None]
    cpu_cores: int
    torch_threads: int
    emulates_bfloat16: bool
    devices: tuple[Device, ...]
    encoders: dict[str, bool]
    decoders: dict[str, bool]
    espeak_program: str | None
    espeak_library: str | None


def package_version(name: str) -> str | None:
    """Returns the version of an installed distribution, ``None`` if it is missing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def codec_available(name: str, mode: str) -> bool:
    """Whether PyAV's FFmpeg can read (``mode`` "r") or write ("w") this format."""
    try:
        av.codec.Codec(name, "w" if mode == "w" else "r")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def memory_bytes(meminfo: str, cgroup_limit: str) -> tuple[int, int]:
    """Returns total and free memory from /proc/meminfo, limited by the container's limit.

    Args:
        meminfo: lines such as ``MemTotal: 123 kB``.
        cgroup_limit: a number of bytes, or ``max`` or empty for no limit.
    """
    fields = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    total = int(fields["MemTotal"].split()[0]) * 1024
    free = int(fields["MemAvailable"].split()[0]) * 1024
    if cgroup_limit.strip().isdigit():
        limit = int(cgroup_limit)
        total, free = min(total, limit), min(free, limit)
    return total, free


def _host_memory() -> tuple[int, int]:
    if _MEMINFO.exists():
        limit = _CGROUP_LIMIT.read_text() if _CGROUP_LIMIT.exists() else ""
        return memory_bytes(_MEMINFO.read_text(), limit)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return total, total


def _devices() -> tuple[Device, ...]:
    total, free = _host_memory()
    capability = torch.backends.cpu.get_cpu_capability()
    found = [Device("cpu", capability, total, free, available_backends("cpu"))]
    for index in range(torch.cuda.device_count()):
        name = f"cuda:{index}"
        free, total = torch.cuda.mem_get_info(index)
        model = torch.cuda.get_device_name(index)
        found.append(Device(name, model, total, free, available_backends(name)))
    if torch.backends.mps.is_available():
        # Apple's GPU shares the memory of the host.
        found.append(Device("mps", platform.machine(), total, free, available_backends("mps")))
    return tuple(found)


def inspect_machine() -> Machine:
    """Inspects the machine; takes well under a second and changes nothing."""
    return Machine(
        system=platform.platform(),
        python=platform.python_version(),
        packages={name: package_version(name) for name in PACKAGES},
        cpu_cores=os.cpu_count() or 1,
        torch_threads=torch.get_num_threads(),
        emulates_bfloat16=EMULATES_BF16,
        devices=_devices(),
        encoders={name: codec_available(name, "w") for name in ENCODERS},
        decoders={name: codec_available(name, "r") for name in DECODERS},
        espeak_program=shutil.which("espeak-ng"),
        espeak_library=ctypes.util.find_library("espeak-ng"),
    )
