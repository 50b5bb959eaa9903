"""The interface of a rank to the group of ranks that compute one result together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from flashtalk.errors import InputError
from flashtalk.serving.lane import Stopped
from services.pod.commands import Ping, Shutdown, Warm

Part = TypeVar("Part")
End = TypeVar("End")


class PodGroup(Protocol):
    """The ranks that work on one chunk together."""

    def send(self, command: Any) -> None:
        """Leader: sends a command to every follower."""

    def receive(self) -> Any:
        """Follower: waits for the next command."""

    def agree(self, wanted: bool) -> bool:
        """Called by all ranks at the same point; returns the leader's ``wanted``."""

    def together(self) -> AbstractContextManager[None]:
        """Leader: context for work with its followers, which must not fail on one rank only."""

    def warm(self) -> None:
        """Marks the end of the warm-up."""


class Solo:
    """A group of one rank."""

    def send(self, command: Any) -> None:
        """Does nothing: there are no followers."""

    def receive(self) -> Any:
        """Raises RuntimeError: there is no leader."""
        raise RuntimeError("a pod of one rank has no followers")

    def agree(self, wanted: bool) -> bool:
        """Returns ``wanted``: there are no other ranks."""
        return wanted

    def together(self) -> AbstractContextManager[None]:
        """Returns a context that does nothing."""
        return contextlib.nullcontext()

    def warm(self) -> None:
        """Does nothing: there are no other ranks."""


def tell(group: PodGroup, command: Any) -> None:
    """Leader: sends a command that needs no work on this rank."""
    with group.together():
        group.send(command)


def follow(group: PodGroup, carry_out: Callable[[Any], None]) -> None:
    """The loop of a follower; returns after ``Shutdown``.

    If the leader cancels or rejects a command, all ranks end it at the same point.

    Args:
        group: the ranks.
        carry_out: computes this rank's share of a command.
    """
    while True:
        command = group.receive()
        if isinstance(command, Warm):
            group.warm()
        elif isinstance(command, Shutdown):
            return
        elif not isinstance(command, Ping):
            with contextlib.suppress(Stopped, InputError):
                carry_out(command)


def in_step(group: PodGroup, parts: Generator[Part, None, End]) -> Generator[Part, None, End]:
    """Yields parts of a result; all ranks agree before each part.

    When the call is cancelled, the leader closes this generator; followers end at the same part.

    Raises:
        Stopped: on a follower, when the leader has closed the generator.
    """
    with contextlib.closing(parts):
        while True:
            try:
                part = next(parts)
            except StopIteration as end:
                result: End = end.value
                return result
            try:
                yield part
            except GeneratorExit:
                group.agree(False)
                raise
            if not group.agree(True):
                raise Stopped
