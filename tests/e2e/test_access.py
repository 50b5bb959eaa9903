"""The whole suite, certificates inside, TLS and API keys outside, and who gets a video of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from flashtalk.client import ClientError, FlashTalkClient, tls_credentials
from flashtalk.wire.status import Reason
from services.local import LocalSuite
from tests.e2e.processes import (
    FILE,
    KeptSuite,
    face,
    held_ports,
    kept_suite,
    metrics_page,
    png,
    speech,
)
from tests.e2e.test_node_client import example, program
from tests.fakes.api_keys import KeyFile
from tests.fakes.certificates import Authority
from tests.fakes.fork_server import completed
from tests.fakes.otlp_collector import Collector, collector
from tests.fakes.real_redis import redis_server
from tests.patience import patient, wait_until

__all__ = ["example"]  # a fixture

NAME = "workers.flashtalk"
ROLES = ("AUDIO_ENCODER", "DIT_WORKER", "VAE_DECODER")
LIMIT_S = 250.0


@dataclass
class Access:
    """A suite that asks for everything, and what it asks for."""

    kept: KeptSuite
    file: KeyFile
    inside: Authority
    outside: Authority
    speech: Path
    metrics_port: int
    collected: Collector

    def talk(self, out: Path, *words: str, key: str = "") -> subprocess.CompletedProcess[str]:
        """``flashtalk talk`` with what this suite needs, or without some of it."""
        command = [
            "talk",
            "--gateway",
            self.kept.running.gateway,
            "--image",
            "examples/portrait.png",
            "--audio",
            str(self.speech),
            "--out",
            str(out),
            "--patience",
            str(patient(60)),
            *words,
        ]
        given = dict(os.environ) | {"FLASHTALK_API_KEY": key}  # noqa: TID251 - what a shell would hand on
        return completed("flashtalk.cli", command, out.parent, given, patient(LIMIT_S))

    def logs(self) -> str:
        """Of every process of the suite."""
        services = self.kept.running.services.values()
        return "".join(service.log.read_text(errors="replace") for service in services)


@pytest.fixture(scope="module")
def access(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    """With a real Redis; what depends on the store is tested with both in test_keys.py."""
    folder = tmp_path_factory.mktemp("access")
    inside, outside = Authority(folder / "inside"), Authority(folder / "outside")
    worker = inside.issue("worker", f"DNS:{NAME}")
    gateway = inside.issue("gateway", "DNS:gateway")
    public = outside.issue("public", "DNS:localhost,IP:127.0.0.1")
    file = KeyFile(folder / "keys.json")
    file.add("alice", max_sessions=4)
    file.add("bob")
    stack = contextlib.ExitStack()
    collected = stack.enter_context(collector())
    (metrics_port,) = stack.enter_context(held_ports(1))
    settings = {
        "LOG_LEVEL": "DEBUG",
        "METRICS_PORT": str(metrics_port),
        "OTLP_ENDPOINT": collected.endpoint,
        "TLS_CERT": str(public.cert),
        "TLS_KEY": str(public.key),
        "API_KEYS": str(file.path),
        "WORKERS_CA": str(inside.ca),
        "WORKERS_CERT": str(gateway.cert),
        "WORKERS_KEY": str(gateway.key),
        "WORKERS_TLS_NAME": NAME,
    }
    given = {f"FLASHTALK_GATEWAY_{name}": value for name, value in settings.items()}
    for role in ROLES:
        asked = {"CERT": worker.cert, "KEY": worker.key, "CLIENT_CA": inside.ca}
        given |= {f"FLASHTALK_{role}_TLS_{name}": str(path) for name, path in asked.items()}
    sound = folder / "speech.wav"
    with wave.open(str(sound), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes((speech(2.0) * 32_767).astype("<i2").tobytes())
    logs = tmp_path_factory.mktemp("logs")
    with stack:
        store = stack.enter_context(redis_server(tmp_path_factory.mktemp("redis"))).url
        kept = stack.enter_context(kept_suite(weights, logs, settings=given, store=store))
        yield Access(kept, file, inside, outside, sound, metrics_port, collected)


def test_talk_makes_a_video_with_the_key(access: Access, tmp_path: Path) -> None:
    trusted = ("--tls-ca", str(access.outside.ca))
    done = access.talk(tmp_path / "a.mp4", *trusted, key=access.file.keys["alice"])
    assert done.returncode == 0, done.stderr
    assert "frames=50" in done.stdout
    (tmp_path / "key").write_text(access.file.keys["bob"] + "\n")
    words = (*trusted, "--api-key-file", str(tmp_path / "key"))
    done = access.talk(tmp_path / "b.mp4", *words, key="overruled")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.mp4").stat().st_size > 0


def test_talk_is_refused_in_one_line_without_what_is_asked_for(
    access: Access, tmp_path: Path
) -> None:
    good, out = access.file.keys["alice"], tmp_path / "a.mp4"
    trusted = ("--tls-ca", str(access.outside.ca))
    short = ("--patience", "1")
    refusals = (
        (access.talk(out, *trusted), "API key required"),
        (access.talk(out, *trusted, key="ftk_wrong"), "unknown API key"),
        (access.talk(out, *short, key=good), "flashtalk: "),
        (access.talk(out, "--tls", *short, key=good), "flashtalk: "),
        (access.talk(out, "--tls-ca", str(access.inside.ca), *short, key=good), "flashtalk: "),
        (access.talk(out, "--tls-ca", str(tmp_path / "none"), key=good), "tls_ca: "),
        (access.talk(out, "--api-key-file", str(tmp_path / "none")), "api_key_file: "),
        (access.talk(out, *trusted, key="two words"), "api_key: "),
        (access.talk(out, "--gateway", "10.0.0.7:50050", key=good), "connection is not encrypted"),
    )
    for done, said in refusals:
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert said in done.stderr
        assert good[4:24] not in done.stderr
    assert not out.exists()


def test_the_client_in_javascript_shows_a_key_too(
    access: Access, example: Path, repo_root: Path, tmp_path: Path
) -> None:
    words = [
        program("node"),
        "talk.js",
        f"--gateway={access.kept.running.gateway}",
        f"--image={repo_root / 'examples/portrait.png'}",
        f"--audio={access.speech}",
        f"--out={tmp_path / 'a.mp4'}",
        f"--tls-ca={access.outside.ca}",
    ]
    given = dict(os.environ)  # noqa: TID251 - what a shell would hand on
    for key, code, said in (
        (access.file.keys["alice"], 0, "frames=50"),
        ("", 1, "API key required"),
    ):
        done = subprocess.run(
            words,
            cwd=example,
            env=given | {"FLASHTALK_API_KEY": key},
            capture_output=True,
            text=True,
            timeout=patient(LIMIT_S),
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert said in done.stdout + done.stderr


def test_a_session_of_another_key_is_not_there(access: Access) -> None:
    async def scenario(running: LocalSuite) -> None:
        trusted = tls_credentials(access.outside.ca)
        clients = [
            FlashTalkClient(
                running.gateway, credentials=trusted, api_key=key, patience_s=patient(60)
            )
            for key in (access.file.keys["alice"], access.file.keys["bob"])
        ]
        async with clients[0] as alice, clients[1] as bob:
            session = await alice.create_session(png(face()), wait_for_slot=True, **FILE)
            assert [s.session_id async for s in alice.sessions()] == [session.session_id]
            assert [s.session_id async for s in bob.sessions()] == []
            await bob.delete_session(session)
            for ask in (bob.get_session(session), bob.interrupt_session(session)):
                with pytest.raises(ClientError) as caught:
                    await ask
                assert caught.value.reason is Reason.SESSION_GONE
            async with bob.stream(session) as stream:
                with pytest.raises(ClientError) as caught:
                    await anext(stream)
                assert caught.value.code is grpc.StatusCode.NOT_FOUND
            async with alice.stream(session) as stream:
                await stream.push_audio(speech(0.5))
                await stream.finish()
                assert len([event async for event in stream]) > 13

    access.kept.run(scenario)


def test_workers_speak_to_nobody_without_a_certificate(access: Access, tmp_path: Path) -> None:
    async def scenario(running: LocalSuite) -> None:
        for name in ("audio_encoder", "dit_worker", "vae_decoder"):
            port = running.services[name].target.rpartition(":")[2]
            for words in ((), ("--tls-ca", str(access.inside.ca), "--tls-name", NAME)):
                code, said = await asyncio.to_thread(_probe, tmp_path, port, *words)
                assert code == 1, said
        port = running.gateway.rpartition(":")[2]
        code, said = await asyncio.to_thread(
            _probe, tmp_path, port, "--tls-ca", str(access.outside.ca)
        )
        assert code == 0, said

    access.kept.run(scenario)


def _probe(folder: Path, port: str, *words: str) -> tuple[int, str]:
    command = ["--port", port, "--timeout-s", "30", *words]
    done = completed("services.health", command, folder, os.environ, patient(120))  # noqa: TID251 - what a shell would hand on
    return done.returncode, done.stderr


def test_no_key_and_no_digest_is_in_any_log_metric_or_trace_of_the_run(
    access: Access, tmp_path: Path
) -> None:
    """Calls with good keys and bad ones before it, so that there is something to find."""
    before = len(access.collected.received)
    wrong = "ftk_wrong-0123456789-wrong-0123456789"
    trusted = ("--tls-ca", str(access.outside.ca))
    for key in (wrong, access.file.keys["alice"]):
        access.talk(tmp_path / "a.mp4", *trusted, key=key)

    def traces() -> str:
        return b"".join(access.collected.received[before:]).decode("latin-1")

    # The refused call's span with its error, and one of the good calls.
    wait_until(lambda: "unknown API key" in traces() and "DeleteSession" in traces())
    logs, page = access.logs(), metrics_page(access.metrics_port)
    assert "BAD_KEY" in logs
    assert "UNAUTHENTICATED" in page
    for secret in (wrong, *access.file.keys.values(), *access.file.digests()):
        for text in (logs, page, traces()):
            assert secret[4:24] not in text
