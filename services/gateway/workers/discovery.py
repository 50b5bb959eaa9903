"""Finds workers: a fixed list, or a name that is resolved repeatedly."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from flashtalk.errors import InputError
from flashtalk.serving.logs import get_logger
from flashtalk.wire.host_port import read_host_port

_LOG = get_logger(__name__)
_DNS = "dns:///"
_RESOLVE_S = 3.0


@dataclass
class Targets:
    """Addresses of one kind of worker.

    Args:
        fixed: HOST:PORT.
        names: hosts and ports of names that resolve to any number of addresses.
    """

    fixed: frozenset[str]
    names: tuple[tuple[str, int], ...]
    _known: dict[tuple[str, int], frozenset[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, field: str, text: str) -> Targets:
        """Parses ``HOST:PORT`` and ``dns:///NAME:PORT``, comma-separated. Raises InputError."""
        fixed: set[str] = set()
        names: list[tuple[str, int]] = []
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            place = read_host_port(part.removeprefix(_DNS))
            if place is None:
                raise InputError(field, part, "must be HOST:PORT or dns:///NAME:PORT")
            if part.startswith(_DNS):
                names.append(place)
            else:
                fixed.add(part)
        if not fixed and not names:
            raise InputError(field, repr(text), "at least one HOST:PORT or dns:///NAME:PORT")
        return cls(frozenset(fixed), tuple(names))

    async def resolve(self) -> frozenset[str]:
        """Returns all addresses; for a name that cannot be resolved, the previous ones."""
        await asyncio.gather(*(self._ask(host, port) for host, port in self.names))
        return self.fixed.union(*self._known.values())

    async def _ask(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_RESOLVE_S):
                answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError) as error:  # a label that is too long
            _LOG.warning("name not resolved", extra={"host": host, "error": repr(error)})
            return
        self._known[host, port] = frozenset(_address(answer[4][0], port) for answer in answers)


def _address(host: str | int, port: int) -> str:
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
