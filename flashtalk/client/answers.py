"""Requests of a stream that wait for their answers, by the name that the client chose."""

from __future__ import annotations

import asyncio
from typing import Any


class Answers:
    """The waiting requests of one stream; each is answered at most once."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Any]] = {}

    def expect(self, name: str) -> asyncio.Future[Any]:
        """Returns a future for the answer to a new request."""
        answer = self._waiting[name] = asyncio.get_running_loop().create_future()
        return answer

    def settle(self, name: str, event: object) -> None:
        """Answers a request; does nothing if nobody waits for it."""
        answer = self._waiting.get(name)
        if answer is not None and not answer.done():
            answer.set_result(event)

    def fail(self, error: Exception) -> None:
        """Fails all requests without an answer."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)

    def forget(self, name: str) -> None:
        """Ends the wait for an answer."""
        self._waiting.pop(name, None)
