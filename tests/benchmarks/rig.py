"""Gateways as processes before stand-in workers, and what they use of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from flashtalk.serving.port_file import read_port
from services.local import LocalConfig, LocalSuite, gateway_settings
from tests.patience import patient

ROOT = Path(__file__).resolve().parents[2]
TABLE_4_S = {"audio": 0.033, "denoise": 0.616, "decode": 0.187, "motion": 0.014}
"""Seconds per chunk on 8 GPUs with torch.compile (report, Table 4 and Figure 6)."""

FREE_S = dict.fromkeys(TABLE_4_S, 0.0)
"""Workers that take no time."""

_ROLES = ("audio_encoder", "dit_worker", "vae_decoder")
_START_S = 240.0
_CORES = sorted(os.sched_getaffinity(0))
"""This machine's, before a rig took one from its callers."""


@dataclass(frozen=True)
class Usage:
    """Of one process, or the difference of two.

    Args:
        cpu_s: processor time; rss_bytes: memory; threads, files: how many.
    """

    cpu_s: float
    rss_bytes: int
    threads: int
    files: int

    def since(self, before: Usage) -> Usage:
        """What was added."""
        return Usage(
            self.cpu_s - before.cpu_s,
            self.rss_bytes - before.rss_bytes,
            self.threads - before.threads,
            self.files - before.files,
        )


def usage(pid: int) -> Usage:
    """Of a process now."""
    process = psutil.Process(pid)
    with process.oneshot():
        times = process.cpu_times()
        return Usage(
            times.user + times.system,
            process.memory_info().rss,
            process.num_threads(),
            process.num_fds(),
        )


@dataclass(frozen=True)
class Rig:
    """What runs: gateways, and one process of stand-in workers."""

    suite: LocalSuite
    workers: asyncio.subprocess.Process

    @property
    def target(self) -> str:
        """HOST:PORT of the first gateway."""
        return self.suite.gateway

    def pids(self) -> dict[str, int]:
        """Of every process, by name; this one is ``callers``."""
        found = {name: service.process.pid for name, service in self.suite.services.items()}
        return {**found, "stand_ins": self.workers.pid, "callers": os.getpid()}

    def give_cores(self) -> None:
        """The gateway gets one core of this machine, everybody else the others.

        Raises:
            ValueError: there is only one.
        """
        if len(_CORES) < 2:
            raise ValueError("a core for the gateway needs a second one for everybody else")
        for name, pid in self.pids().items():
            own = _CORES[:1] if name == "gateway" else _CORES[1:]
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread.name), own)

    def usage(self) -> dict[str, Usage]:
        """Of every process."""
        return {name: usage(pid) for name, pid in self.pids().items()}


@contextlib.asynccontextmanager
async def rig(
    folder: Path,
    times_s: Mapping[str, float],
    *,
    slots: int,
    store: str = "memory://",
    frame_bytes: int = 7_000,
    size_hw: tuple[int, int] = (64, 64),
    features: tuple[int, int, int] = (35, 2, 8),
    settings: Mapping[str, str] | None = None,
    workers_module: str = "tests.fakes.stand_in_workers",
) -> AsyncIterator[Rig]:
    """A gateway and its workers while the block runs.

    Args:
        folder: for logs.
        times_s: how long a stage takes, as ``TABLE_4_S``.
        slots: sessions that the workers take.
        store: of the gateway.
        frame_bytes: of a picture; 28 of 7,000 are the 0.2 MB of a chunk at 720x416.
        size_hw: of the video: the tensors are as large as it needs.
        features: shape of the speech features [frames, layers, width].
        settings: more of the gateway, without prefix.
        workers_module: the stand-ins.
    """
    port_file = folder / "stand_ins.port"
    port_file.unlink(missing_ok=True)
    arguments = [f"--{stage}-s={seconds}" for stage, seconds in times_s.items()]
    arguments += [f"--slots={slots}", f"--frame-bytes={frame_bytes}", f"--port-file={port_file}"]
    arguments += ["--size", *map(str, size_hw), "--features", *map(str, features)]
    workers = await asyncio.create_subprocess_exec(
        sys.executable, "-m", workers_module, *arguments, cwd=ROOT
    )
    start_s = patient(_START_S)
    given = dict(os.environ)  # noqa: TID251 - what a shell would hand on
    suite = LocalSuite(LocalConfig(given, folder, store=store, start_s=start_s))
    try:
        async with asyncio.timeout(start_s):
            while (port := read_port(port_file)) is None:
                if workers.returncode is not None:
                    raise RuntimeError(f"the stand-in workers ended with {workers.returncode}")
                await asyncio.sleep(0.05)
        target = f"127.0.0.1:{port}"
        leads = gateway_settings(store, dict.fromkeys(_ROLES, target))
        leads["METRICS_PORT"] = "0"
        await suite.start("gateway", "gateway", 0, leads | dict(settings or {}))
        yield Rig(suite, workers)
    finally:
        await suite.stop()
        with contextlib.suppress(ProcessLookupError):
            workers.terminate()
        await workers.wait()


def as_figures(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as they are written into JSON."""
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in values.items()}
