"""Real gloo ranks that stay up between tests: processes that run a function together.

Started once per number of ranks and test session; a function gets ``torch.distributed`` set up and
its result comes back from every rank.
"""

from __future__ import annotations

import io
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist

from tests import seeds
from tests.fakes.fork_server import fork_server
from tests.patience import patient

_START_S, _CALL_S, _END_S = 120.0, 110.0, 10.0


class RankError(Exception):
    """A rank raised; the text is its traceback."""


class RankPool:
    """``size`` processes of one gloo group.

    Functions and arguments are pickled: functions have to be a module's.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        context = fork_server()
        self._folder = tempfile.TemporaryDirectory(prefix="ranks")
        meeting = Path(self._folder.name) / "meeting"
        self._ends: list[Connection] = []
        self._processes = []
        for rank in range(size):
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(there, rank, size, str(meeting)), daemon=True
            )
            process.start()
            there.close()
            self._ends.append(here)
            self._processes.append(process)
        self._collect(_START_S)

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """``function(*arguments)`` on every rank; the results by rank.

        Raises:
            RankError: a rank raised, or did not answer in time.
        """
        packed = _pack((function, arguments))
        for end in self._ends:
            end.send_bytes(packed)
        return self._collect(_CALL_S)

    def close(self) -> None:
        """Ends the processes and waits for them."""
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.join(patient(_END_S))
            if process.is_alive():
                process.kill()
                process.join()
        self._folder.cleanup()

    def __enter__(self) -> RankPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _collect(self, limit_s: float) -> list[Any]:
        answers = []
        for rank, end in enumerate(self._ends):
            if not end.poll(patient(limit_s)):
                raise RankError(f"rank {rank} did not answer within {patient(limit_s):.0f} s")
            answers.append(_unpack(end.recv_bytes()))
        for rank, (fine, value) in enumerate(answers):
            if not fine:
                raise RankError(f"rank {rank}: {value}")
        return [value for _, value in answers]


def _serve(end: Connection, rank: int, size: int, meeting: str) -> None:
    torch.set_num_threads(1)
    seeds.shift()
    dist.init_process_group(
        "gloo",
        f"file://{meeting}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=patient(_CALL_S)),
    )
    end.send_bytes(_pack((True, None)))
    while True:
        try:
            function, arguments = _unpack(end.recv_bytes())
        except EOFError:
            return
        try:
            answer = (True, function(*arguments))
        except Exception:
            answer = (False, traceback.format_exc())
        end.send_bytes(_pack(answer))


def _pack(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _unpack(packed: bytes) -> Any:
    return torch.load(io.BytesIO(packed), weights_only=False)
