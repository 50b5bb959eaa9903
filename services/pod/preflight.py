"""Checks between the ranks of a pod before weights are loaded; one line each."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from flashtalk.serving.logs import get_logger
from services.pod.member import Pod, PodError

_LOG = get_logger(__name__)
_SHARED_MEMORY = Path("/dev/shm")
_LEAST_SHARED_MIB = 1_024


@dataclass(frozen=True)
class Finding:
    """The result of one check: its name, what was found, and whether a pod can run with it."""

    check: str
    found: str
    fine: bool = True


def preflight(pod: Pod, device: torch.device) -> list[Finding]:
    """Runs all checks; every rank takes part.

    Raises:
        PodError: the ranks cannot communicate; with the first reason.
    """
    findings = list(_checks(pod, device))
    for finding in findings:
        log = _LOG.info if finding.fine else _LOG.error
        log("preflight", extra={"check": finding.check, "found": finding.found, "rank": pod.rank})
    wrong = [finding for finding in findings if not finding.fine]
    if wrong:
        raise PodError(f"rank {pod.rank}: {wrong[0].check}: {wrong[0].found}")
    return findings


def _checks(pod: Pod, device: torch.device) -> Iterator[Finding]:
    yield _round_trip("gloo", pod, torch.device("cpu"), pod.commands)
    if device.type != "cuda":
        return
    index = device.index or 0
    yield Finding("driver", f"{torch.cuda.get_device_name(index)}, CUDA {torch.version.cuda}")
    yield _peers(index)
    yield _shared_memory()
    yield _round_trip("nccl", pod, device, None)


def _round_trip(
    name: str, pod: Pod, device: torch.device, group: dist.ProcessGroup | None
) -> Finding:
    """Checks an all-reduce: every rank adds its number."""
    begun_s = time.perf_counter()
    total = torch.tensor([pod.rank], device=device)
    dist.all_reduce(total, group=group)
    wanted, took_ms = pod.size * (pod.size - 1) // 2, 1e3 * (time.perf_counter() - begun_s)
    if total.item() != wanted:
        return Finding(name, f"all-reduce gave {total.item()}, expected {wanted}", fine=False)
    return Finding(name, f"{pod.size} ranks, {took_ms:.1f} ms")


def _peers(index: int) -> Finding:
    others = [n for n in range(torch.cuda.device_count()) if n != index]
    near = [n for n in others if torch.cuda.can_device_access_peer(index, n)]
    # Without peer access all traffic goes through the host: slower, but correct.
    return Finding("peer access", f"to {len(near)} of {len(others)} other GPUs of this host")


def _shared_memory() -> Finding:
    if not _SHARED_MEMORY.is_dir():
        return Finding("shared memory", "no /dev/shm")
    free = os.statvfs(_SHARED_MEMORY)
    free_mib = free.f_bavail * free.f_frsize // 2**20
    text = f"{free_mib} MiB free in /dev/shm"
    if free_mib < _LEAST_SHARED_MIB:
        return Finding(
            "shared memory", f"{text}; at least {_LEAST_SHARED_MIB} MiB required", fine=False
        )
    return Finding("shared memory", text)
