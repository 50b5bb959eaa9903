"""The leader of a pod keeps in touch with its followers whatever its callers do."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from flashtalk.serving.errors import ServiceError
from services.dit_worker.servicer import registering
from services.dit_worker.settings import DitWorkerSettings
from services.dit_worker.stage import loading
from services.pod import worker as pod_module
from services.pod.commands import Ping
from services.pod.group import Solo
from services.pod.worker import PodWorker
from tests.patience import patient, until


class Heard(Solo):
    """A group that notes what followers would hear."""

    def __init__(self) -> None:
        self.commands: list[Any] = []
        self.often = threading.Event()

    def send(self, command: Any) -> None:
        self.commands.append(command)
        if len(self.commands) == 3:
            self.often.set()


def test_pings_go_on_after_the_lane_was_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_module, "PING_S", 0.01)

    async def scenario() -> None:
        group: Any = Heard()
        settings = DitWorkerSettings(max_pending=1, device="cpu")
        made = loading(group, 2**20)
        worker = PodWorker(settings, made, registering(made), group)
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
