"""What is wrong with a Redis is said in one line that names the setting, without the password."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.fork_server import begin
from tests.fakes.free_ports import free_ports
from tests.patience import patient


@contextlib.contextmanager
def redis(*options: str) -> Iterator[int]:
    """A real server with options of its own; gives its port."""
    (port,) = free_ports(1)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        for line in server.stdout:
            if "Ready to accept connections" in line:
                break
        yield port
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def started(url: str, log: Path) -> str:
    """What a gateway on that store says before it ends with code 2."""
    settings = {"HOST": "127.0.0.1", "PORT": "0", "METRICS_PORT": "0", "STORE": url}
    given = {f"FLASHTALK_GATEWAY_{name}": value for name, value in settings.items()}
    process = begin("services.gateway", [], log, dict(os.environ) | given)  # noqa: TID251
    process.join(patient(300))
    process.kill()
    said = log.read_text()
    assert process.exitcode == 2, said
    assert "Traceback" not in said
    assert "secret" not in said
    lines = [json.loads(line) for line in said.splitlines()]
    (why,) = [line["error"] for line in lines if "error" in line]
    assert why.startswith("FLASHTALK_GATEWAY_STORE: redis://")
    return str(why)


CASES = [
    (("--requirepass", "right"), ":secret@127.0.0.1:{port}/0", "username-password"),
    (("--requirepass", "right"), "127.0.0.1:{port}/0", "uthentication required"),
    ((), "127.0.0.1:{port}/99", "DB index is out of range"),
    (("--maxmemory", "1"), "127.0.0.1:{port}/0", "maxmemory"),
    (("--replicaof", "127.0.0.1 1"), "127.0.0.1:{port}/0", "read only replica"),
    ((), "no-such-host.invalid:6379/0", "not known"),
    ((), "user:secret@127.0.0.1:1/0", "127.0.0.1:1"),
]


@pytest.fixture(scope="module")
def reasons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Future[str]]]:
    """Of all cases at once: some gateways wait for their store as long as they may."""
    folder = tmp_path_factory.mktemp("said")
    with contextlib.ExitStack() as servers, ThreadPoolExecutor(4) as pool:
        yield [
            pool.submit(
                started,
                f"redis://{address.format(port=servers.enter_context(redis(*options)))}",
                folder / str(number),
            )
            for number, (options, address, _) in enumerate(CASES)
        ]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[said for _, _, said in CASES])
def test_a_store_that_cannot_be_used(case: int, reasons: list[Future[str]]) -> None:
    assert CASES[case][2] in reasons[case].result()
