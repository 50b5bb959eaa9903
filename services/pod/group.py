"""The ranks that work on one thing together, seen from each of them."""

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


class Group(Protocol):
    """The ranks that work on one chunk together."""

    def send(self, command: Any) -> None:
        """Leader: tells every follower."""

    def receive(self) -> Any:
        """Follower: waits for the next command."""

    def agree(self, wanted: bool) -> bool:
        """All ranks, at the same place: whether the leader still wants the chunk."""

    def together(self) -> AbstractContextManager[None]:
        """Around all that a leader does with its followers: what must not fail on one rank only."""

    def warm(self) -> None:
        """The warm-up is over."""


class Solo:
    """A group of one: nobody to tell, nobody to ask."""

    def send(self, command: Any) -> None:
        """Does nothing: there are no followers."""

    def receive(self) -> Any:
        """Raises RuntimeError: there is no leader to wait for."""
        raise RuntimeError("a group of one has no follower")

    def agree(self, wanted: bool) -> bool:
        """Returns ``wanted``: there is nobody else to agree with."""
        return wanted

    def together(self) -> AbstractContextManager[None]:
        """Returns a context that does nothing."""
        return contextlib.nullcontext()

    def warm(self) -> None:
        """Does nothing: no other rank waits for it."""


def tell(group: Group, command: Any) -> None:
    """Leader: a command that needs no work of this rank."""
    with group.together():
        group.send(command)


def follow(group: Group, carry_out: Callable[[Any], None]) -> None:
    """The loop of every rank but the leader, until it is told to end.

    What the leader gives up or finds not to fit, all ranks give up at the same place.

    Args:
        group: the ranks.
        carry_out: does this rank's share of a command.
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


def in_step(group: Group, parts: Generator[Part, None, End]) -> Generator[Part, None, End]:
    """Parts of a result, each computed by all ranks: none begins the next one alone.

    A leader whose caller has gone closes this; the others then end at the same part.

    Raises:
        Stopped: on a follower, where the leader has closed it.
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
