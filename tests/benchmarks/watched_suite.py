"""The suite as processes whose memory, metrics and leftovers are looked at."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from prometheus_client.parser import text_string_to_metric_families

from flashtalk.cli.bench_soak import MIB
from services.local import GATEWAY, WORKERS, LocalConfig, LocalSuite, gateway_settings
from tests.benchmarks.rig import Usage, usage
from tests.e2e.processes import environment, held_ports, metrics_page
from tests.fakes.real_redis import RedisServer
from tests.patience import patient

SLOTS = 512
_START_S = 240.0


class WatchedSuite:
    """A running suite with a metrics page for each service."""

    def __init__(self, suite: LocalSuite, ports: dict[str, int], redis: RedisServer) -> None:
        self._suite, self._ports, self._redis = suite, ports, redis

    @property
    def target(self) -> str:
        """HOST:PORT of the gateway."""
        return self._suite.gateway

    def usage(self) -> dict[str, Usage]:
        """Of every process, each rank, Redis and this one (``client``) included."""
        pids = {}
        for name, service in self._suite.services.items():
            pids[name] = service.process.pid
            if name in self._suite.config.ranks:
                ranks = psutil.Process(service.process.pid).children()
                pids |= {f"{name} rank {rank}": child.pid for rank, child in enumerate(ranks)}
        assert self._redis.process is not None
        pids |= {"redis": self._redis.process.pid, "client": psutil.Process().pid}
        return {name: usage(pid) for name, pid in pids.items()}

    async def left(self) -> dict[str, float]:
        """What sessions may leave behind."""
        found: dict[str, float] = {}
        for name, port in self._ports.items():
            found[f"{name} tasks"] = self._metric(port, "flashtalk_tasks")
        found["streams"] = self._metric(self._ports[GATEWAY], "flashtalk_streams")
        found["free slots"] = self._metric(self._ports[GATEWAY], "flashtalk_session_slots_free")
        return found | await self._left_in_redis()

    @staticmethod
    def _metric(port: int, name: str) -> float:
        for family in text_string_to_metric_families(metrics_page(port)):
            for sample in family.samples:
                if sample.name == name:
                    return sample.value
        raise LookupError(f"{name} is not on the page of port {port}")

    async def _left_in_redis(self) -> dict[str, float]:
        from redis.asyncio import Redis

        async with Redis.from_url(self._redis.url) as client:
            now_s, now_us = await client.time()
            leases, eternal = 0, 0
            async for key in client.scan_iter("flashtalk:*"):
                if b":worker:" in key:
                    leases += await client.zcount(key, now_s * 1_000 + now_us // 1_000, "+inf")
                elif key != b"flashtalk:sessions" and await client.ttl(key) == -1:
                    eternal += 1
            return {"leases": leases, "keys that never expire": eternal}


@contextlib.asynccontextmanager
async def watched_suite(
    weights: Path, folder: Path, redis: RedisServer, ranks: Mapping[str, int]
) -> AsyncIterator[WatchedSuite]:
    """The suite on a Redis while the block runs; ``ranks`` of workers that have more than one."""
    given = environment(weights, FLASHTALK_DIT_WORKER_SESSION_SLOTS=str(SLOTS))
    config = LocalConfig(given, folder, ranks=ranks, start_s=patient(_START_S))
    suite = LocalSuite(config)
    names = (*WORKERS, GATEWAY)
    with held_ports(len(names)) as free:
        ports = dict(zip(names, free, strict=True))

        def settings(name: str) -> dict[str, str]:
            return {"METRICS_PORT": str(ports[name])}

        try:
            async with asyncio.TaskGroup() as group:
                started = [
                    group.create_task(suite.start(name, name, 0, settings(name)))
                    for name in WORKERS
                ]
            targets = {task.result().name: task.result().target for task in started}
            leads = gateway_settings(redis.url, targets)
            await suite.start(GATEWAY, GATEWAY, 0, {**leads, **settings(GATEWAY)})
            yield WatchedSuite(suite, ports, redis)
        finally:
            await suite.stop()


class Watch:
    """Memory of every process over something that goes on.

    Args:
        suite: what is watched.
    """

    def __init__(self, suite: WatchedSuite) -> None:
        self._suite = suite
        self._at: list[float] = []
        self._rss: dict[str, list[int]] = {}
        self._files: dict[str, tuple[int, int]] = {}

    def note(self, at: float) -> None:
        """A look at all processes, ``at`` seconds of video or sessions into it."""
        self._at.append(at)
        for name, used in self._suite.usage().items():
            self._rss.setdefault(name, []).append(used.rss_bytes)
            first, _ = self._files.get(name, (used.files, 0))
            self._files[name] = (first, used.files)

    def report(self) -> dict[str, Any]:
        """Medians of the second and the last quarter (the first is warm-up), and the slope."""
        quarter = max(1, len(self._at) // 4)
        rows = {}
        for name, rss in self._rss.items():
            mib = np.asarray(rss, np.float64) / MIB
            early, late = np.median(mib[quarter : 2 * quarter]), np.median(mib[-quarter:])
            slope = np.polyfit(np.asarray(self._at[quarter:]) / 3_600, mib[quarter:], 1)[0]
            rows[name] = {
                "early_mib": round(float(early), 2),
                "late_mib": round(float(late), 2),
                "growth_mib": round(float(late - early), 2),
                "slope_mib_per_hour": round(float(slope), 2),
                "files_before": self._files[name][0],
                "files_after": self._files[name][1],
            }
        return rows
