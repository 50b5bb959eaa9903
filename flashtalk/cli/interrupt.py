"""Interrupts by Ctrl-C or another signal between two steps, never inside one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from flashtalk.terminal import stopping_signals


class Interrupts:
    """Turns the first SIGINT, SIGTERM or SIGHUP into KeyboardInterrupt, and ignores later ones.

    Inside ``hold`` the interrupt waits for the end of the block, so that a frame is never written
    without its sound and a file is always finished. Works in the main thread.
    """

    def __init__(self) -> None:
        self._held = 0
        self._waiting = False
        self._raised = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Delays interrupts: one that arrives in the block is raised after it."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._waiting and not self._held:
            self._raise()

    def __enter__(self) -> Interrupts:
        for number in stopping_signals():
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._held:
            self._waiting = True
        else:
            self._raise()

    def _raise(self) -> None:
        self._waiting = False
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt
