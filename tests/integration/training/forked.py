"""Training commands as processes of the fork server, and two of them as the ranks of torchrun."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from tests.fakes.fork_server import begin
from tests.patience import patient

LIMIT_S = 250.0
"""Of a command that hangs."""


class ForkedCommand:
    """Stands in for ``subprocess.Popen`` of ``[python, -m, MODULE, ...]`` with a log."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: int,
        stdout: Any,
        stderr: int,
        env: Mapping[str, str],
    ) -> None:
        _, dash_m, module, *arguments = command
        assert dash_m == "-m"
        self._process = begin(module, arguments, Path(stdout.name), env)

    @property
    def returncode(self) -> int | None:
        """``None`` while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """As ``returncode``."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        """Until it has ended, or so long."""
        self._process.join(timeout)
        return self._process.exitcode

    def terminate(self) -> None:
        """Asks it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends it."""
        self._process.kill()


class Ranks:
    """``training.train`` on two ranks, that meet as those of torchrun do.

    Args:
        arguments: of the command.
        folder: for the output of each rank.
    """

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self._logs = [folder / f"rank{rank}.log" for rank in range(2)]
        self.processes = [
            begin("training.train", arguments, log, self._environment(rank))
            for rank, log in enumerate(self._logs)
        ]

    def _environment(self, rank: int) -> dict[str, str]:
        given = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": 2,
            "LOCAL_WORLD_SIZE": 2,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": self._store.port,
            "TORCHELASTIC_USE_AGENT_STORE": True,
            "TORCHELASTIC_RESTART_COUNT": 0,
            "TORCHELASTIC_RUN_ID": "test",
            "OMP_NUM_THREADS": 1,
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        environment = dict(os.environ)  # noqa: TID251 - what a shell would hand on
        return environment | {name: str(value) for name, value in given.items()}

    def output(self) -> str:
        """What both have printed."""
        return "".join(log.read_text() for log in self._logs if log.exists())

    def both_run(self) -> bool:
        """Whether none has ended."""
        return all(process.exitcode is None for process in self.processes)

    def finish(self) -> list[int | None]:
        """Waits for both; their exit codes. One that hangs is killed."""
        for process in self.processes:
            process.join(patient(LIMIT_S))
            if process.exitcode is None:
                self.kill()
        return [process.exitcode for process in self.processes]

    def kill(self) -> None:
        """SIGKILL, to both at once."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()
