"""Each rank watches the others. If one dies, is silent or makes no progress, the whole pod ends.

Every rank writes a heartbeat and its progress into torchrun's store, from a separate thread. A rank
without a heartbeat is dead or stopped. If no rank makes progress, the rank with the fewest steps is
the one that the others wait for.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from flashtalk.serving.logs import get_logger

_LOG = get_logger(__name__)

BEAT_S = 0.25
"""Between two beats of a rank."""
EXIT_LOST = 70
"""Exit code of a rank that gives the pod up."""


class Store(Protocol):
    """The used part of ``torch.distributed.Store``."""

    def set(self, key: str, value: str) -> None:
        """Writes a key."""

    def multi_get(self, keys: list[str]) -> list[bytes]:
        """Reads keys that exist."""


@dataclass(frozen=True)
class Limits:
    """Timeouts of a pod for its ranks.

    Args:
        silence_s: maximum time without a heartbeat.
        hang_s: maximum time without progress in a computation; applies after the warm-up.
    """

    silence_s: float = 3.0
    hang_s: float = 4.0


@dataclass
class Progress:
    """Progress of this rank; written by the compute thread, read by the watch.

    Attributes:
        busy: whether a command is running.
        warm: whether missing progress is a fault.
        steps: number of synchronisation points of all ranks that this rank has reached. All ranks
            count the same points, so the rank with the lowest count is the missing one.
    """

    busy: bool = False
    warm: bool = False
    steps: int = 0


@dataclass
class _Seen:
    """The last known state of a rank, and since when it is unchanged."""

    beat: int = -1
    beat_s: float = 0.0
    steps: int = -1
    steps_s: float = 0.0
    busy: bool = False
    left: bool = False
    where: dict[str, Any] = field(default_factory=dict)


class Watch:
    """The watch of one rank.

    Args:
        store: shared by all ranks, used only by the watch in this process.
        rank: number of this rank.
        size: number of ranks.
        limits: timeouts.
        progress: progress of this rank.
        more_steps: returns steps that are counted elsewhere; added to ``progress.steps``.
        lose: called with the reason when the pod must end; does not return.
        now_s: returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        size: int,
        limits: Limits,
        progress: Progress,
        more_steps: Callable[[], int] = lambda: 0,
        lose: Callable[[str], None] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._rank, self._size = store, rank, size
        self._limits, self._progress, self._more_steps = limits, progress, more_steps
        self._lose, self._now_s = lose or give_up, now_s
        self._beats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pod-watch", daemon=True)
        self._ranks = {other: _Seen() for other in range(size)}

    def start(self) -> None:
        """Starts the thread; the first heartbeat is written when this returns."""
        self._beat()
        self._thread.start()

    def leave(self) -> None:
        """Ends the watch normally: the other ranks do not report this rank as lost."""
        self._ended.set()
        self._thread.join()
        with suppress(Exception):  # the store may have ended before
            self._write(left=True)

    def _run(self) -> None:
        while not self._ended.wait(BEAT_S) and self.step():
            pass

    def step(self) -> bool:
        """Writes one heartbeat and checks the others; returns False if the store is lost."""
        try:
            self._beat()
            self._look(self._now_s())
        except Exception as error:
            if not self._ended.is_set():
                self._lose(f"lost the connection to the pod's store: {type(error).__name__}")
            return False
        return True

    def _beat(self) -> None:
        self._beats += 1
        self._write(left=False)

    def _write(self, *, left: bool) -> None:
        progress = self._progress
        word = {
            "beat": self._beats,
            "busy": progress.busy and progress.warm,
            "left": left,
            "steps": progress.steps + self._more_steps(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
        }
        self._store.set(_key(self._rank), json.dumps(word))

    def _look(self, now_s: float) -> None:
        words = self._store.multi_get([_key(rank) for rank in range(self._size)])
        for rank, packed in enumerate(words):
            word, seen = json.loads(packed), self._ranks[rank]
            if word["beat"] != seen.beat:
                seen.beat, seen.beat_s = word["beat"], now_s
            if word["steps"] != seen.steps or not word["busy"]:
                seen.steps, seen.steps_s = word["steps"], now_s
            seen.busy, seen.left, seen.where = word["busy"], word["left"], word
        present = {rank: seen for rank, seen in self._ranks.items() if not seen.left}
        for rank, seen in present.items():
            silent_s = now_s - seen.beat_s
            if rank != self._rank and silent_s > self._limits.silence_s:
                _kill_here(seen.where)
                self._lose(f"no heartbeat from rank {rank} for {silent_s:.1f} s")
                return
        self._look_for_hang(now_s, present)

    def _look_for_hang(self, now_s: float, present: dict[int, _Seen]) -> None:
        still_s = min((now_s - seen.steps_s for seen in present.values()), default=0.0)
        busy = [rank for rank, seen in present.items() if seen.busy]
        if not busy or still_s <= self._limits.hang_s:
            return
        least = min(seen.steps for seen in present.values())
        behind = [str(rank) for rank, seen in present.items() if seen.steps == least]
        self._lose(f"no progress for {still_s:.1f} s; slowest rank: {', '.join(behind)}")


def give_up(reason: str) -> NoReturn:
    """Ends this process at once: running calls end with a lost connection, so the gateway retries
    them."""
    _LOG.error("the pod has failed", extra={"error": reason})
    logging.shutdown()
    os._exit(EXIT_LOST)


def _kill_here(where: dict[str, Any]) -> None:
    """Kills a stopped process on this host, which would outlive its pod and keep its memory."""
    if where.get("host") == socket.gethostname():
        with suppress(OSError):
            os.kill(where["pid"], signal.SIGKILL)


def _key(rank: int) -> str:
    return f"pod/{rank}"
