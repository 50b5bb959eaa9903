"""A proxy of the environment is for the way out, not for this machine."""

import pytest

from flashtalk.serving.channel import ChannelLimits
from flashtalk.wire.proxies import NO_PROXY, is_loopback, proxy_of, proxy_options


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:50050",
        "127.3.2.1:1",
        "localhost:50050",
        "LOCALHOST:1",
        "[::1]:50050",
        "dns:///localhost:50050",
        "ipv4:127.0.0.1:1",
        "ipv6:[::1]:1",
        "unix:/run/a.sock",
        "unix:///run/a.sock",
        "http://127.0.0.1:4317",
        "http://localhost:4317/v1",
        "localhost",
        "a.localhost:1",
        "::1",
    ],
)
def test_this_machine_is_reached_without_a_proxy(target: str) -> None:
    assert is_loopback(target)
    assert proxy_options(target) == [NO_PROXY]


@pytest.mark.parametrize(
    "target",
    [
        "gateway:50050",
        "10.0.0.7:50050",
        "[2001:db8::1]:443",
        "dns:///gateway.example:443",
        "localhost.example:443",
        "https://collector.example:4317",
        "127.example:1",
        "",
    ],
)
def test_elsewhere_the_environment_decides(target: str) -> None:
    assert not is_loopback(target)
    assert proxy_options(target) == []


def test_services_never_reach_each_other_through_a_proxy() -> None:
    assert NO_PROXY in ChannelLimits().client_options()


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("grpc", "https", "http", "no", "no_grpc"):
        for name in (f"{kind}_proxy", f"{kind}_proxy".upper()):
            monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_environment")
def test_the_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_of("gateway.example:443") == ""
    monkeypatch.setenv("http_proxy", "http://one:1")
    assert proxy_of("gateway.example:443") == "http://one:1"
    assert proxy_of("127.0.0.1:443") == ""
    monkeypatch.setenv("https_proxy", "http://user:secret@two:2")
    assert proxy_of("gateway.example:443") == "http://two:2"
    monkeypatch.setenv("no_proxy", "gateway.example,other")
    assert proxy_of("gateway.example:443") == ""
