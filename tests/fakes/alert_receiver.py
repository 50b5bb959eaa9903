"""Whoever is told of alerts: a webhook of an alertmanager, as a pager or a chat would have."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class AlertReceiver:
    """All alerts that came, oldest first, as the alertmanager writes them."""

    url: str = ""
    alerts: list[dict[str, Any]] = field(default_factory=list)

    def told(self, status: str, **labels: str) -> list[dict[str, Any]]:
        """Those ``firing`` or ``resolved`` with these labels."""
        return [
            alert
            for alert in list(self.alerts)
            if alert["status"] == status and labels.items() <= alert["labels"].items()
        ]


@contextlib.contextmanager
def alert_receiver() -> Iterator[AlertReceiver]:
    """The receiver, on a free port while the block runs."""
    receiver = AlertReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.alerts += json.loads(body)["alerts"]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing: a test's output is its own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
