"""Decides which connections bypass a proxy of the environment."""

from __future__ import annotations

import ipaddress
import urllib.parse
import urllib.request

ChannelOption = tuple[str, int]
# gRPC uses http_proxy and the like from the environment unless this option is set.
NO_PROXY: ChannelOption = ("grpc.enable_http_proxy", 0)


def is_loopback(target: str) -> bool:
    """Whether a gRPC target is on this machine.

    Args:
        target: ``HOST:PORT``, ``[IPV6]:PORT``, ``unix:PATH``, with or without gRPC's scheme
            (``dns:///HOST:PORT``, ``ipv4:HOST:PORT``) or ``http://``.
    """
    if target.startswith("unix:"):
        return True
    host = _host_of(target)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_of(target: str) -> str:
    for prefix in ("http://", "https://", "dns:", "ipv4:", "ipv6:"):
        target = target.removeprefix(prefix)
    # dns:///HOST:PORT or dns://SERVER/HOST:PORT; a path follows the authority of a URL.
    place = target.rpartition("/")[2] if target.startswith("//") else target.partition("/")[0]
    bare_ipv6 = place.count(":") > 1 and not place.startswith("[")
    host = place if bare_ipv6 else place.rpartition(":")[0] or place
    return host.strip("[]").lower()


def proxy_options(target: str) -> list[ChannelOption]:
    """Returns channel options: no proxy to this machine; otherwise the environment decides."""
    return [NO_PROXY] if is_loopback(target) else []


def proxy_of(target: str) -> str:
    """Returns the proxy that gRPC uses for a target, for error messages: without its password.

    Returns:
        The URL; empty if the environment has no proxy for this target.
    """
    named = urllib.request.getproxies_environment()
    host = _host_of(target)
    bypassed = urllib.request.proxy_bypass_environment(host, named)  # type: ignore[attr-defined]
    if is_loopback(target) or bypassed:
        return ""
    # gRPC's order: grpc_proxy, https_proxy, http_proxy.
    url = next((named[kind] for kind in ("grpc", "https", "http") if named.get(kind)), "")
    parts = urllib.parse.urlsplit(url)
    return url.replace(f"{parts.netloc.rpartition('@')[0]}@", "") if "@" in parts.netloc else url
