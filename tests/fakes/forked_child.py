"""A program of ours as a copy of this process, which has imported all that it needs."""

from __future__ import annotations

import os
import runpy
import select
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from subprocess import TimeoutExpired
from typing import NoReturn

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD)


class ForkedChild:
    """``python -m MODULE ARGUMENTS``; has what is used of a ``subprocess.Popen``.

    Args:
        words: the module and its arguments.
        environment: of the child.
        sink: descriptor for its output; None: this process' own.
        own_session: whether it leads a session.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        *,
        sink: int | None = None,
        own_session: bool = False,
    ) -> None:
        self.args = list(words)
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _become(self.args, environment, sink, own_session)

    @property
    def exitcode(self) -> int | None:
        """As of a ``multiprocessing`` process."""
        return self.poll()

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


def run_module(words: Sequence[str]) -> None:
    """As ``python -m``; what the module imports is there, itself begins anew."""
    for name in (words[0], f"{words[0]}.__main__"):
        sys.modules.pop(name, None)
    sys.argv = list(words)
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def _become(
    words: Sequence[str], environment: Mapping[str, str], sink: int | None, own_session: bool
) -> NoReturn:
    code = 1
    try:
        if own_session:
            os.setsid()
        if sink is not None:
            os.dup2(sink, 1)
            os.dup2(sink, 2)
        signal.set_wakeup_fd(-1)
        for number in _HANDLED:  # the parent's handlers are not its own
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()  # noqa: TID251 - what a shell would hand on
        os.environ.update(environment)  # noqa: TID251
        run_module(words)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
