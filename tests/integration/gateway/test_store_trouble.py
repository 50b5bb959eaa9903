"""What is wrong with a Redis is said in one line that names the setting, without the password."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.free_ports import free_ports
from tests.patience import patient

GATEWAY = [sys.executable, "-m", "services.gateway"]


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


def started(url: str, repo_root: Path) -> str:
    """What a gateway on that store says before it ends with code 2."""
    settings = {"HOST": "127.0.0.1", "PORT": "0", "METRICS_PORT": "0", "STORE": url}
    given = {f"FLASHTALK_GATEWAY_{name}": value for name, value in settings.items()}
    done = subprocess.run(
        GATEWAY, cwd=repo_root, env=dict(os.environ) | given, capture_output=True, text=True,  # noqa: TID251
        timeout=patient(300), check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
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
def reasons(repo_root: Path) -> Iterator[list[Future[str]]]:
    """Of all cases at once: some gateways wait for their store as long as they may."""
    with contextlib.ExitStack() as servers, ThreadPoolExecutor(4) as pool:
        yield [
            pool.submit(
                started,
                f"redis://{address.format(port=servers.enter_context(redis(*options)))}",
                repo_root,
            )
            for options, address, _ in CASES
        ]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[said for _, _, said in CASES])
def test_a_store_that_cannot_be_used(case: int, reasons: list[Future[str]]) -> None:
    assert CASES[case][2] in reasons[case].result()
