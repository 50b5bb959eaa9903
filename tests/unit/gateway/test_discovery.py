"""Where workers are: what may be written down, and what it stands for at the moment."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any, TypeVar

import pytest

from flashtalk.errors import InputError
from services.gateway.workers.discovery import Targets
from tests.fakes.virtual_time import run_virtual
from tests.patience import patient

ResultT = TypeVar("ResultT")
Answer = tuple[int, int, int, str, tuple[Any, ...]]


def soon(work: Awaitable[ResultT]) -> ResultT:
    async def bounded() -> ResultT:
        async with asyncio.timeout(patient(60)):
            return await work

    return asyncio.run(bounded())


def answers(*hosts: str) -> list[Answer]:
    """As getaddrinfo gives them."""
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, 0, 0, 0))
        if ":" in host
        else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0))
        for host in hosts
    ]


class Names:
    """A resolver with answers of ours; a name without one is not known."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known: dict[str, list[Answer]] = {}
        self.silent = False
        self.asked: list[str] = []
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", self.getaddrinfo)

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Answer]:
        self.asked.append(host)
        if self.silent:
            await asyncio.Event().wait()
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.known[host]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.mark.parametrize(
    ("text", "fixed", "found"),
    [
        ("a:1", {"a:1"}, ()),
        ("10.0.0.7:65535", {"10.0.0.7:65535"}, ()),
        (" a:1 ,b:2,, a:1,", {"a:1", "b:2"}, ()),
        ("[::1]:50051", {"[::1]:50051"}, ()),
        ("dns:///workers:80", set(), (("workers", 80),)),
        ("dns:///a:1, b:2 ,dns:///c.d:3", {"b:2"}, (("a", 1), ("c.d", 3))),
    ],
)
def test_addresses_and_names_are_told_apart(
    text: str, fixed: set[str], found: tuple[tuple[str, int], ...]
) -> None:
    targets = Targets.parse("dit_workers", text)
    assert targets.fixed == frozenset(fixed)
    assert targets.names == found


@pytest.mark.parametrize(
    ("text", "blamed"),
    [
        ("a", "a"),
        ("a:", "a:"),
        (":50051", ":50051"),
        ("a:b", "a:b"),
        ("a:0", "a:0"),
        ("a:65536", "a:65536"),
        ("a:-1", "a:-1"),
        ("a:+1", "a:+1"),
        ("a:1.5", "a:1.5"),
        ("a:²", "a:²"),
        ("good:1,bad", "bad"),
        ("dns:///", "dns:///"),
        ("dns:///a", "dns:///a"),
        ("dns:///:80", "dns:///:80"),
        ("dns:///a:http", "dns:///a:http"),
    ],
)
def test_what_is_no_target_is_refused_by_name(text: str, blamed: str) -> None:
    with pytest.raises(InputError) as refused:
        Targets.parse("vae_decoders", text)
    assert refused.value.field == "vae_decoders"
    assert refused.value.value == blamed
    assert "HOST:PORT" in refused.value.limit


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_nothing_at_all_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        Targets.parse("audio_encoders", text)
    assert refused.value.field == "audio_encoders"
    assert "at least one" in refused.value.limit


def test_fixed_addresses_are_asked_of_nobody(names: Names) -> None:
    targets = Targets.parse("dit_workers", "a:1,b:2")
    assert soon(targets.resolve()) == {"a:1", "b:2"}
    assert names.asked == []


def test_a_name_stands_for_the_addresses_that_the_system_knows() -> None:
    targets = Targets.parse("dit_workers", "dns:///localhost:50051,10.1.2.3:4")
    found = soon(targets.resolve())
    assert "10.1.2.3:4" in found
    assert "127.0.0.1:50051" in found
    assert found <= {"10.1.2.3:4", "127.0.0.1:50051", "[::1]:50051"}


def test_an_address_of_ipv6_stands_in_brackets(names: Names) -> None:
    names.known["six"] = answers("fd00::1", "10.0.0.1")
    targets = Targets.parse("dit_workers", "dns:///six:7")
    assert soon(targets.resolve()) == {"[fd00::1]:7", "10.0.0.1:7"}


def test_a_name_follows_who_comes_and_goes(names: Names) -> None:
    targets = Targets.parse("dit_workers", "dns:///pods:7,fixed:1")
    for hosts in (("10.0.0.1",), ("10.0.0.1", "10.0.0.2"), ("10.0.0.3", "10.0.0.3")):
        names.known["pods"] = answers(*hosts)
        assert soon(targets.resolve()) == {"fixed:1", *(f"{host}:7" for host in hosts)}


def test_a_name_that_cannot_be_resolved_any_more_keeps_whom_it_stood_for(names: Names) -> None:
    names.known["pods"] = answers("10.0.0.1", "10.0.0.2")
    targets = Targets.parse("dit_workers", "dns:///pods:7,fixed:1")
    known = soon(targets.resolve())
    del names.known["pods"]
    for _ in range(2):
        assert soon(targets.resolve()) == known
    names.known["pods"] = answers("10.0.0.9")
    assert soon(targets.resolve()) == {"10.0.0.9:7", "fixed:1"}


def test_a_name_that_was_never_known_leaves_the_others(names: Names) -> None:
    names.known["good"] = answers("10.0.0.1")
    for text in ("dns:///good:7,dns:///bad:7,fixed:1", "dns:///bad:7,dns:///good:7,fixed:1"):
        targets = Targets.parse("dit_workers", text)
        assert soon(targets.resolve()) == {"10.0.0.1:7", "fixed:1"}


def test_one_name_that_fails_does_not_hide_what_another_has_become(names: Names) -> None:
    names.known.update(first=answers("10.0.0.1"), second=answers("10.0.0.2"))
    targets = Targets.parse("dit_workers", "dns:///first:7,dns:///second:7")
    soon(targets.resolve())
    del names.known["first"]
    names.known["second"] = answers("10.0.0.3")
    assert soon(targets.resolve()) >= {"10.0.0.1:7", "10.0.0.3:7"}


def test_a_resolver_that_does_not_answer_is_not_waited_for(names: Names) -> None:
    names.known["pods"] = answers("10.0.0.1")
    targets = Targets.parse("dit_workers", "dns:///pods:7")

    async def scenario() -> float:
        known = await targets.resolve()
        names.silent = True
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        assert await targets.resolve() == known
        return loop.time() - begun_s

    assert run_virtual(scenario) == pytest.approx(3.0)
