"""The leader of a pod keeps in touch with its followers whatever its callers do."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from services.dit_worker import pod as pod_module
from services.dit_worker.commands import Command, Ping
from services.dit_worker.pod import PodWorker
from services.dit_worker.rank import DenoiseRank, Leader, Solo
from services.dit_worker.settings import DitWorkerSettings


class Heard(Solo):
    """A group that notes what followers would hear."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.often = threading.Event()

    def send(self, command: Command) -> None:
        self.commands.append(command)
        if len(self.commands) == 3:
            self.often.set()


def test_pings_go_on_after_the_lane_was_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_module, "PING_S", 0.05)

    async def scenario() -> None:
        group: Any = Heard()
        settings = DitWorkerSettings(max_pending=1, device="cpu")
        worker = PodWorker(settings, group, Leader(DenoiseRank(group, 2**20), group))
        await worker.lane.start()
        release = threading.Event()
        pinging = asyncio.create_task(worker._ping())
        try:
            busy = asyncio.create_task(worker.lane.run(lambda _: release.wait(20)))
            await asyncio.sleep(0.3)  # several pings find the lane full
            assert not pinging.done()
            assert group.commands == []
            release.set()
            await busy
            assert await asyncio.to_thread(group.often.wait, 10)
            assert all(isinstance(command, Ping) for command in group.commands)
        finally:
            release.set()
            pinging.cancel()
            await asyncio.wait({pinging})
            await worker.lane.stop()

    asyncio.run(scenario())
