"""The leader of a pod keeps in touch with its followers whatever its callers do."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from flashtalk.serving.errors import ServiceError
from services.dit_worker import pod as pod_module
from services.dit_worker.commands import Command, Ping
from services.dit_worker.pod import PodWorker
from services.dit_worker.rank import DenoiseRank, Leader, Solo
from services.dit_worker.settings import DitWorkerSettings
from tests.patience import patient, until


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
    monkeypatch.setattr(pod_module, "PING_S", 0.01)

    async def scenario() -> None:
        group: Any = Heard()
        settings = DitWorkerSettings(max_pending=1, device="cpu")
        worker = PodWorker(settings, group, Leader(DenoiseRank(group, 2**20), group))
        await worker.lane.start()
        release, refused = threading.Event(), list[ServiceError]()
        running = worker.lane.run

        async def noted(work: Any) -> Any:
            try:
                return await running(work)
            except ServiceError as full:
                refused.append(full)
                raise

        monkeypatch.setattr(worker.lane, "run", noted)
        pinging = asyncio.create_task(worker._ping())
        try:
            busy = asyncio.create_task(running(lambda _: release.wait(patient(60))))
            await until(lambda: len(refused) >= 3)  # pings found the lane full
            assert not pinging.done()
            assert group.commands == []
            release.set()
            await busy
            assert await asyncio.to_thread(group.often.wait, patient(60))
            assert all(isinstance(command, Ping) for command in group.commands)
        finally:
            release.set()
            pinging.cancel()
            await asyncio.wait({pinging})
            await worker.lane.stop()

    asyncio.run(scenario())
