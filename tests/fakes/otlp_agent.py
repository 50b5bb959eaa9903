"""A collector that people run: it takes traces over OTLP, batches them and hands them on."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from tests.patience import patient, wait_until


@contextlib.contextmanager
def otlp_agent(folder: Path, onward: str, port: int, spare_port: int) -> Iterator[str]:
    """The collector while the block runs; all that it took is handed on when it ends.

    Args:
        folder: for its log.
        onward: OTLP endpoint that gets what it takes.
        port: of its endpoint; spare_port: of the same over HTTP, which nobody uses here.

    Yields:
        Its endpoint.
    """
    log = folder / "rotel.log"
    command = [
        str(files("rotel") / "rotel-agent"),
        "start",
        "--otlp-grpc-endpoint",
        f"127.0.0.1:{port}",
        "--otlp-http-endpoint",
        f"127.0.0.1:{spare_port}",
        "--exporter",
        "otlp",
        "--otlp-exporter-endpoint",
        onward,
        "--otlp-exporter-protocol",
        "grpc",
        "--otlp-exporter-compression",
        "none",
        "--batch-timeout",
        "100ms",
    ]
    with log.open("wb") as sink:
        # Without an environment there is no proxy in it.
        process = subprocess.Popen(command, env={}, stdout=sink, stderr=sink)

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    try:
        wait_until(listens, what=f"the collector listens; its log is in {log}")
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        assert process.wait(patient(60)) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
