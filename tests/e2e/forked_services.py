"""Services of a suite as processes of the fork server: theirs alone, but ready in a second."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import psutil

from services.local import GATEWAY, WORKERS
from tests.fakes.fork_server import begin
from tests.patience import until

_MODULES = {
    "tests.fakes.stand_in_workers",
    "torch.distributed.run",
    *(f"services.{name}" for name in (*WORKERS, GATEWAY)),
}
_FOR_EVER_S = 1e6


class Forked(Protocol):
    """A process of ``multiprocessing``, or a ``ForkedChild``."""

    @property
    def pid(self) -> int | None:
        """While it runs."""

    @property
    def exitcode(self) -> int | None:
        """None while it runs."""


class ForkedProcess:
    """What ``services.local`` uses of an ``asyncio.subprocess.Process``."""

    def __init__(self, process: Forked) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """``None`` while it runs."""
        return self._process.exitcode

    async def wait(self) -> int:
        """Until it has ended."""
        await until(lambda: self.returncode is not None, _FOR_EVER_S)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To a process that runs."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def forked_services() -> Iterator[None]:
    """While the block runs, services that are started are copies; all other programs are not.

    The ranks of the first pod are started as torchrun does it, those of later ones are copies too.
    """
    start = asyncio.create_subprocess_exec
    launchers = iter(["torch.distributed.run"])

    async def fork(*words: str, **options: Any) -> Any:
        if words[:2] == (sys.executable, "-m") and words[2] in _MODULES:
            sink = options.get("stdout")
            log = Path(os.devnull if sink is None else sink.name)
            given = options.get("env", os.environ)  # noqa: TID251 - what a shell would hand on
            module = words[2]
            if module == "torch.distributed.run":
                module = next(launchers, "tests.fakes.forked_ranks")
            process = begin(module, words[3:], log, given)
            return ForkedProcess(process)
        return await start(*words, **options)

    with mock.patch("asyncio.create_subprocess_exec", fork):
        yield


@contextlib.contextmanager
def forked_program(
    words: Sequence[str], log: Path, environment: Mapping[str, str]
) -> Iterator[BaseProcess]:
    """``python -m WORDS``, a program that starts services; neither it nor they import anything.

    What is left of it after the block is killed.
    """
    log.touch()
    process = begin("tests.fakes.forked_suite", words, log, environment)
    children: list[psutil.Process] = []
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.join()
