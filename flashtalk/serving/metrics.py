"""Metrics of calls, and the page that Prometheus scrapes."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, start_http_server

_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)

STARTED = Counter("flashtalk_rpc_started", "Started calls.", ["method"])
HANDLED = Counter("flashtalk_rpc_handled", "Finished calls.", ["method", "code"])
SECONDS = Histogram("flashtalk_rpc_seconds", "Duration of calls.", ["method"], buckets=_BUCKETS_S)
RUNNING = Gauge("flashtalk_rpc_running", "Running calls.", ["method"])
TASKS = Gauge("flashtalk_tasks", "Tasks of the event loop.")
WORKER_PENDING = Gauge("flashtalk_worker_pending", "Waiting and running jobs of this worker.")
WORKER_WAIT_SECONDS = Histogram(
    "flashtalk_worker_wait_seconds", "Queue time of a job.", buckets=_BUCKETS_S
)
WORKER_STAGE_SECONDS = Histogram(
    "flashtalk_worker_stage_seconds", "Compute time, by stage.", ["stage"], buckets=_BUCKETS_S
)
WORKER_RECOMPILES = Gauge(
    "flashtalk_worker_recompiles",
    "Graphs compiled after the warm-up, while a session waited; 0 without COMPILE.",
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
