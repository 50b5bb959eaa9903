"""Parses ``HOST:PORT``."""

from __future__ import annotations

_LAST_PORT = 65_535


def read_host_port(text: str) -> tuple[str, int] | None:
    """Returns host and port of ``HOST:PORT`` or ``[IPV6]:PORT``; ``None`` for anything else.

    A host is a name that a resolver accepts: printable, without spaces, slashes and schemes.
    """
    host, _, port = text.rpartition(":")
    number = int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else 0
    plain = host.startswith("[") and host.endswith("]") if ":" in host else bool(host)
    if not plain or not 0 < number <= _LAST_PORT:
        return None
    if "/" in host or not host.isprintable() or any(map(str.isspace, host)):
        return None
    return host, number
