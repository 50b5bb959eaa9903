"""Starts, queries and stops a Prometheus and an alertmanager on loopback."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flashtalk.errors import FlashTalkError

JOB = "flashtalk"
"""Prefix of every job name."""

_POLL_S = 0.05
_ANSWER_S = 60.0
_STOP_S = 10.0
_ALERTMANAGERS = ("prometheus-alertmanager", "alertmanager")


class ServerError(FlashTalkError):
    """Prometheus or alertmanager is missing, did not start, or rejected a query."""


@dataclass(frozen=True)
class Series:
    """One series of a query result.

    Args:
        labels: its labels, including the name.
        points: (Unix seconds, value), oldest first.
    """

    labels: dict[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Scraping:
    """The configuration of a Prometheus.

    Args:
        targets: HOST:PORT of a metrics page by service.
        interval_s: interval of scrapes and rule evaluations.
        rules: rule files.
        alertmanager: HOST:PORT; empty for none.
    """

    targets: Mapping[str, str]
    interval_s: float = 1.0
    rules: Sequence[Path] = ()
    alertmanager: str = ""

    def config(self) -> str:
        """Returns the configuration file; JSON is valid YAML."""
        jobs = [
            {"job_name": f"{JOB}-{service}", "static_configs": [{"targets": [target]}]}
            for service, target in self.targets.items()
        ]
        interval = f"{round(1_000 * self.interval_s)}ms"
        told = [{"static_configs": [{"targets": [self.alertmanager]}]}]
        return json.dumps(
            {
                "global": {
                    "scrape_interval": interval,
                    "scrape_timeout": interval,
                    "evaluation_interval": interval,
                },
                "rule_files": [str(path) for path in self.rules],
                "scrape_configs": jobs,
                "alerting": {"alertmanagers": told if self.alertmanager else []},
            }
        )


class Prometheus:
    """A client of a running Prometheus; ignores proxies of the environment.

    Args:
        url: ``http://HOST:PORT``.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expr: str) -> list[Series]:
        """Returns the current value of an expression. Raises ServerError."""
        found = self._ask("query", query=expr)
        return [Series(one["metric"], _points([one["value"]])) for one in found["result"]]

    def query_range(self, expr: str, begin_s: float, end_s: float, step_s: float) -> list[Series]:
        """Returns its values from ``begin_s`` to ``end_s`` (Unix seconds). Raises ServerError."""
        found = self._ask("query_range", query=expr, start=begin_s, end=end_s, step=step_s)
        return [Series(one["metric"], _points(one["values"])) for one in found["result"]]

    def now_s(self) -> float:
        """Returns the server's time in Unix seconds. Raises ServerError."""
        (answer,) = self.query("vector(time())")
        return answer.points[-1][1]

    def _ask(self, what: str, **arguments: str | float) -> Any:
        path = f"/api/v1/{what}?{urllib.parse.urlencode(arguments)}"
        try:
            answer = json.loads(get(self.url + path))
        except urllib.error.HTTPError as error:
            raise ServerError(f"{arguments}: {error.read().decode(errors='replace')}") from None
        return answer["data"]


def get(url: str) -> bytes:
    """Returns the body of a page on this machine. Raises OSError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=_ANSWER_S) as page:
        body: bytes = page.read()
    return body


def _points(values: Sequence[Sequence[Any]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(at_s), float(value)) for at_s, value in values)


@contextlib.contextmanager
def kept_ports(count: int) -> Iterator[list[int]]:
    """Context manager: reserves free ports for servers that set SO_REUSEADDR."""
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in kept:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        yield [int(one.getsockname()[1]) for one in kept]


@contextlib.contextmanager
def prometheus(
    folder: Path, port: int, scraping: Scraping, start_s: float = 60.0
) -> Iterator[Prometheus]:
    """Context manager: runs a Prometheus.

    Args:
        folder: folder of its data; pages in ``folder/consoles`` are served at ``/consoles/``.
        port: port on loopback.
        scraping: its configuration.
        start_s: timeout of the start.

    Raises:
        ServerError: it is not installed, ended, or did not respond within the timeout.
    """
    config = folder / "prometheus.json"
    config.write_text(scraping.config(), encoding="utf-8")
    arguments = [
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.console.templates={folder / 'consoles'}",
        "--log.level=warn",
    ]
    with _server(("prometheus",), arguments, folder / "prometheus.log", port, start_s):
        yield Prometheus(f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def alertmanager(folder: Path, port: int, webhook: str, start_s: float = 60.0) -> Iterator[str]:
    """Context manager: runs an alertmanager that forwards every alert at once; yields HOST:PORT.

    Args:
        folder: folder of its data.
        port: port on loopback.
        webhook: URL that receives the alerts.
        start_s: timeout of the start.

    Raises:
        ServerError: as ``prometheus``.
    """
    route = {"receiver": "told", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
    receiver = {"name": "told", "webhook_configs": [{"url": webhook}]}
    config = folder / "alertmanager.json"
    config.write_text(json.dumps({"route": route, "receivers": [receiver]}), encoding="utf-8")
    arguments = [
        f"--config.file={config}",
        f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with _server(_ALERTMANAGERS, arguments, folder / "alertmanager.log", port, start_s):
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def _server(
    names: Sequence[str], arguments: Sequence[str], log: Path, port: int, start_s: float
) -> Iterator[None]:
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        raise ServerError(f"{names[0]} is not installed; run scripts/setup_system.sh")
    with log.open("wb") as sink:
        # Without an environment there is no proxy in it. In a session of its own, Ctrl-C is ours.
        process = subprocess.Popen(
            [program, *arguments],
            env={},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        _wait_for(process, log, f"http://127.0.0.1:{port}/-/ready", start_s)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], log: Path, url: str, start_s: float) -> None:
    until_s = time.monotonic() + start_s
    while True:
        ended = process.poll()
        if ended is not None or time.monotonic() > until_s:
            why = f"ended with {ended}" if ended is not None else f"not ready in {start_s:g} s"
            name = Path(str(process.args[0])).name  # type: ignore[index]
            raise ServerError(f"{name}: {why}:\n{log.read_text(errors='replace')[-2_000:]}")
        with contextlib.suppress(OSError):
            get(url)
            return
        time.sleep(_POLL_S)
