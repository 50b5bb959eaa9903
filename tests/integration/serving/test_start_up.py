"""A setting that cannot be used ends a service with code 2 and one line that names it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.certificates import Authority
from tests.fakes.fork_server import completed
from tests.patience import patient

Tried = tuple[int, list[str]]


@pytest.fixture(scope="module")
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])


def tried(folder: Path, tries: list[tuple[str, dict[str, str]]]) -> list[Tried]:
    """Exit code and lines of each start that was tried."""
    defaults = {"HOST": "127.0.0.1", "PORT": "0", "METRICS_PORT": "0"}
    given = [
        (role, {f"FLASHTALK_{role.upper()}_{k}": v for k, v in (defaults | settings).items()})
        for role, settings in tries
    ]
    words = [json.dumps(given), str(folder), "whole"]
    done = completed("tests.fakes.tried_starts", words, folder, os.environ, patient(120))  # noqa: TID251
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [(code, said.splitlines()) for code, said in answers]


def expect_named(role: str, found: Tried, setting: str, value: str) -> None:
    code, lines = found
    assert code == 2, (setting, lines)
    name = f"FLASHTALK_{role.upper()}_{setting}"
    (line,) = [line for line in lines if name in line]
    assert value in line
    assert not any("Traceback" in line for line in lines)
    others = [other for other in lines if other != line and "stopped" not in other]
    assert others == []


def test_the_gateway_names_what_it_cannot_use(tmp_path: Path, taken_port: int) -> None:
    cases = [
        ("STORE", "http://x", "http"),
        ("STORE", "memory", "memory"),
        ("STORE", "redis://user:secret@h:notaport/0", "redis://"),
        ("PORT", str(taken_port), str(taken_port)),
        ("PORT", "70000", "70000"),
        ("PORT", "many", "many"),
        ("HOST", "no.such.host.invalid", "no.such.host.invalid"),
        ("HOST", "203.0.113.7", "203.0.113.7"),
        ("METRICS_PORT", str(taken_port), str(taken_port)),
        ("OTLP_ENDPOINT", "collector", "collector"),
        ("PORT_FILE", "/no/such/folder/port", "/no/such/folder/port"),
        ("AUDIO_ENCODERS", "nobody", "nobody"),
        ("DIT_WORKERS", "", "''"),
        ("VAE_DECODERS", "host:99999", "host:99999"),
        ("LOG_LEVEL", "loud", "loud"),
        ("HEARTBEAT_S", "nan", "nan"),
        ("API_KEYS", "/no/such/keys", "/no/such/keys"),
        ("API_KEYS", __file__, "not valid JSON"),
        ("WORKERS_CA", "/no/such/ca", "/no/such/ca"),
    ]
    found = tried(tmp_path, [("gateway", {setting: value}) for setting, value, _ in cases])
    for (setting, _, shown), answer in zip(cases, found, strict=True):
        expect_named("gateway", answer, setting, shown)
        assert "secret" not in "".join(answer[1])


def test_workers_name_what_they_cannot_use(tmp_path: Path, taken_port: int) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    text = tmp_path / "overlay.txt"
    text.write_text("no tensors")
    cases = [
        ("WEIGHTS", "/no/such/weights", "/no/such/weights"),
        ("WEIGHTS", str(empty), "empty"),
        ("OVERLAYS", "/no/such/overlay.pt", "/no/such/overlay.pt: no such file"),
        ("OVERLAYS", f"{text}:0", f"{text}:0.0: a strength other than 0"),
        ("OVERLAYS", str(text), "a file of tensors"),
        ("PRESET", "huge", "huge"),
        ("DEVICE", "toaster", "toaster"),
        ("DTYPE", "int3", "int3"),
        ("SIZES", "wide", "wide"),
        ("SIZES", "97x96", "97x96"),
        ("PORT", str(taken_port), str(taken_port)),
        ("THREADS", "-1", "-1"),
    ]
    roles = ("audio_encoder", "dit_worker", "vae_decoder")
    tries = [(role, {setting: value}) for role in roles for setting, value, _ in cases]
    found = tried(tmp_path, tries)
    for (role, given), answer in zip(tries, found, strict=True):
        ((setting, value),) = given.items()
        shown = next(shown for s, v, shown in cases if (s, v) == (setting, value))
        expect_named(role, answer, setting, shown)


def test_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    one, other = authority.issue("one", "DNS:one"), authority.issue("other", "DNS:other")
    text = tmp_path / "text"
    text.write_text("no certificate")
    good = {"TLS_CERT": str(one.cert), "TLS_KEY": str(one.key)}
    ca, cert = {"WORKERS_CA": str(authority.ca)}, {"WORKERS_CERT": str(one.cert)}
    cases = [
        ("gateway", {"TLS_CERT": str(one.cert)}, "TLS_KEY", "none"),
        ("gateway", {"TLS_KEY": str(one.key)}, "TLS_CERT", "none"),
        ("gateway", {"TLS_CLIENT_CA": str(authority.ca)}, "TLS_CERT", "none"),
        ("gateway", good | {"TLS_CERT": "/no/such/cert"}, "TLS_CERT", "/no/such/cert"),
        ("gateway", good | {"TLS_CERT": str(text)}, "TLS_CERT", "not a PEM file"),
        ("gateway", good | {"TLS_KEY": str(tmp_path)}, "TLS_KEY", "Is a directory"),
        (
            "gateway",
            good | {"TLS_KEY": str(other.key)},
            "TLS_KEY",
            "must be the private key of the certificate",
        ),
        ("gateway", good | {"TLS_CLIENT_CA": str(one.key)}, "TLS_CLIENT_CA", "not a PEM file"),
        ("gateway", ca | cert, "WORKERS_KEY", "none"),
        ("gateway", cert, "WORKERS_CA", "none"),
        ("gateway", {"WORKERS_TLS_NAME": "workers"}, "WORKERS_CA", "none"),
        ("vae_decoder", {"TLS_CERT": str(one.cert)}, "TLS_KEY", "none"),
        ("audio_encoder", good | {"TLS_KEY": str(other.key)}, "TLS_KEY", "private key of the"),
        ("dit_worker", good | {"TLS_CLIENT_CA": str(text)}, "TLS_CLIENT_CA", str(text)),
    ]
    found = tried(tmp_path, [(role, given) for role, given, _, _ in cases])
    for (role, _, setting, shown), answer in zip(cases, found, strict=True):
        expect_named(role, answer, setting, shown)
