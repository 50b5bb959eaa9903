"""``python -m torch.distributed.run`` whose ranks are copies of it instead of new interpreters.

The launcher, its rendezvous and its watch are torchrun's own; what a rank imports is there already
(see ``fork_server``), and that is nine tenths of its start.
"""

from __future__ import annotations

import os
import runpy
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from subprocess import TimeoutExpired
from typing import NoReturn
from unittest import mock

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler

_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class ForkedRank:
    """What torchrun uses of a ``subprocess.Popen``.

    Args:
        words: interpreter, ``-u``, ``-m``, a module and its arguments.
        environment: of the rank.
    """

    def __init__(self, words: Sequence[str], environment: dict[str, str]) -> None:
        flag, switch, module, *arguments = words[1:]
        assert (flag, switch) == ("-u", "-m"), words
        self.returncode: int | None = None
        self.args = words
        self.pid = os.fork()
        if not self.pid:
            _become(module, arguments, environment)

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises TimeoutExpired."""
        if self.poll() is None:
            descriptor = os.pidfd_open(self.pid)  # readable once it has ended
            try:
                select.select([descriptor], [], [], timeout)
            finally:
                os.close(descriptor)
        if self.poll() is None:
            raise TimeoutExpired(self.args, timeout or 0)
        assert self.returncode is not None
        return self.returncode


def _become(module: str, arguments: list[str], environment: dict[str, str]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        for number in _OURS:  # the launcher's handlers are not its own
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()  # noqa: TID251 - what a shell would hand on
        os.environ.update(environment)  # noqa: TID251
        for name in (module, f"{module}.__main__"):
            sys.modules.pop(name, None)  # it begins anew; what it imports is there
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    with mock.patch.object(
        SubprocessHandler, "_popen", lambda _, words, environment: ForkedRank(words, environment)
    ):
        run.main()
