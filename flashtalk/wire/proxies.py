"""Which connections go past the proxy that the environment may name."""

from __future__ import annotations

import ipaddress

ChannelOption = tuple[str, int]
# gRPC takes http_proxy and the like from the environment unless it is told not to.
NO_PROXY: ChannelOption = ("grpc.enable_http_proxy", 0)


def is_loopback(target: str) -> bool:
    """Whether a gRPC target is on this machine.

    Args:
        target: ``HOST:PORT``, ``[IPV6]:PORT``, ``unix:PATH``, with or without gRPC's scheme
            (``dns:///HOST:PORT``, ``ipv4:HOST:PORT``) or ``http://``.
    """
    if target.startswith("unix:"):
        return True
    for prefix in ("http://", "https://", "dns:", "ipv4:", "ipv6:"):
        target = target.removeprefix(prefix)
    # dns:///HOST:PORT or dns://SERVER/HOST:PORT; a path follows the authority of a URL.
    place = target.rpartition("/")[2] if target.startswith("//") else target.partition("/")[0]
    bare_ipv6 = place.count(":") > 1 and not place.startswith("[")
    host = place if bare_ipv6 else place.rpartition(":")[0] or place
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_options(target: str) -> list[ChannelOption]:
    """Options of a channel: no proxy to this machine; elsewhere the environment decides."""
    return [NO_PROXY] if is_loopback(target) else []
