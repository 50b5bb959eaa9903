"""Metrics of calls, and the page that Prometheus scrapes."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, start_http_server

_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)

STARTED = Counter("flashtalk_rpc_started", "Calls that began.", ["method"])
HANDLED = Counter("flashtalk_rpc_handled", "Calls that ended.", ["method", "code"])
SECONDS = Histogram("flashtalk_rpc_seconds", "Wall time of calls.", ["method"], buckets=_BUCKETS_S)
RUNNING = Gauge("flashtalk_rpc_running", "Calls that run now.", ["method"])
TASKS = Gauge("flashtalk_tasks", "Tasks of the event loop.")
WORKER_PENDING = Gauge("flashtalk_worker_pending", "Jobs that wait or run in this worker.")
WORKER_WAIT_SECONDS = Histogram(
    "flashtalk_worker_wait_seconds", "Time of a job until it began.", buckets=_BUCKETS_S
)
WORKER_STAGE_SECONDS = Histogram(
    "flashtalk_worker_stage_seconds", "Time of computing, by stage.", ["stage"], buckets=_BUCKETS_S
)
WORKER_RECOMPILES = Gauge(
    "flashtalk_worker_recompiles",
    "Graphs compiled after the warm-up; each made a session wait. 0 where nothing is compiled.",
)


class MetricsPage:
    """The HTTP page with this process's metrics.

    Args:
        port: 0 for no page.
        host: address to listen on.
    """

    def __init__(self, port: int, host: str = "0.0.0.0") -> None:
        self._server = None
        if port:
            self._server, self._thread = start_http_server(port, host)

    def close(self) -> None:
        """Closes the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5)
            self._server = None
