"""A real redis-server of a test's own, on loopback, that can be killed and restarted."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_START_S = 10.0


@dataclass
class RedisServer:
    """The server; its data survive ``kill`` and ``start`` (every write is synced to a file)."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [
            "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "yes", "--appendfsync", "always", "--dir", str(self.folder),
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until_s = time.monotonic() + _START_S
        while time.monotonic() < until_s:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port)) as s,
            ):
                s.sendall(b"PING\r\n")
                if s.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    @property
    def _at(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port)) as end,
        ):
            end.sendall(b"PING\r\n")
            return end.recv(16).startswith(b"+PONG")
        return False

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Gone at once; what it acknowledged is on the disk."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """The server while the block runs."""
    assert shutil.which("redis-server"), "redis-server is missing: scripts/setup_system.sh"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = RedisServer(folder, free.getsockname()[1])
    server.start()
    try:
        yield server
    finally:
        server.kill()
