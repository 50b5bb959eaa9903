"""What a real Prometheus finds of a real suite: every panel has data, and an alert arrives.

One suite is watched from its start to its end. Its VAE decoder is killed while a session runs,
which the alertmanager has to tell; then sessions talk, are cut off and err until every query has
had an answer. The tests look at what was seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flashtalk.client import ClientError, Event, FlashTalkClient
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from scripts.dashboards.panels import filled
from scripts.prometheus_server import (
    JOB,
    Prometheus,
    Scraping,
    Series,
    alertmanager,
    kept_ports,
    prometheus,
)
from services.local import GATEWAY, WORKERS, LocalSuite
from tests.e2e.processes import (
    FILE,
    collect,
    disturbed,
    face,
    frames_of,
    kill,
    metrics_page,
    patient_client,
    png,
    restart,
    run,
    speech,
    suite,
)
from tests.fakes.alert_receiver import AlertReceiver, alert_receiver
from tests.fakes.watching_files import DCGM, REDIS, RULES, alerts, metrics_of, queries
from tests.patience import patient, until, until_true

SERVICES = (*WORKERS, GATEWAY)
KILLED = "vae_decoder"
NOT_HERE = DCGM | REDIS
"""Of exporters that this suite is without: a GPU, and a Redis with one beside it."""

RETRIES = "flashtalk_chunk_retries_total"
WINDOW = "15s"
"""Rates are of so long: a few looks, also where a look takes a while."""


@dataclass
class Watched:
    """What was seen.

    Args:
        answers: of each query and each alert's expression, the first one with data.
        told: of the worker that was killed, firing and then resolved.
        retries: calls that were made again, on the gateway's page; recorded_retries: in Prometheus.
    """

    answers: dict[str, list[Series]] = field(default_factory=dict)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    retries: float = 0.0
    recorded_retries: float = 0.0


def of_panels() -> dict[str, str]:
    """Every query of every panel that can have data here, by what Prometheus is asked."""
    return {
        filled(query.expr, jobs=f"{JOB}.*", window=WINDOW): f"{query.panel}: {query.expr}"
        for query in queries()
        if not metrics_of(query.expr) & NOT_HERE
    }


def of_alerts() -> dict[str, str]:
    """Every alert's expression without its thresholds, for nothing is wrong most of the time."""
    return {observed(rule["expr"]): rule["alert"] for rule in alerts()}


def observed(expr: str) -> str:
    """What an alert looks at: all values of it, and calls that ended with any error."""
    expr = re.sub(r"\s(?:[<>]|==) [\d.]+", "", expr)
    return re.sub(r'code=~"[A-Z_|]+"', 'code!="OK"', expr)


def hurried(folder: Path) -> Path:
    """The rules, with alerts that wait a second only."""
    text, count = re.subn(r"for: \d+[mh]", "for: 1s", RULES.read_text(encoding="utf-8"))
    assert count == len(alerts())
    file = folder / "rules.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def watched(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder, seen = tmp_path_factory.mktemp("watched"), Watched()
    with kept_ports(len(SERVICES) + 2) as free, alert_receiver() as receiver:
        pages = dict(zip(SERVICES, free[2:], strict=True))

        async def scenario() -> None:
            settings = {f"FLASHTALK_{n.upper()}_METRICS_PORT": str(p) for n, p in pages.items()}
            async with (
                suite(weights, folder, settings=settings) as running,
                patient_client(running) as client,
            ):
                with servers(folder, free, pages, receiver) as asked:
                    await until_true(lambda: all_up(asked))
                    while not seen.retries:  # nearly always at once: a call was under way
                        await lose_a_worker(running, client, receiver, seen)
                        seen.retries = await asyncio.to_thread(retries_on, pages[GATEWAY])
                    async with talking(client):
                        await answered(asked, {**of_panels(), **of_alerts()}, seen)
                    await until_true(lambda: recorded(asked, seen))

        run(scenario)
    return seen


@contextlib.contextmanager
def servers(
    folder: Path, free: list[int], pages: dict[str, int], receiver: AlertReceiver
) -> Iterator[Prometheus]:
    """A Prometheus that looks every second, and tells an alertmanager, which tells the receiver."""
    targets = {name: f"127.0.0.1:{port}" for name, port in pages.items()}
    with alertmanager(folder, free[0], receiver.url, patient(60)) as manager:
        scraping = Scraping(targets, rules=[hurried(folder)], alertmanager=manager)
        with prometheus(folder, free[1], scraping, patient(60)) as asked:
            yield asked


async def all_up(asked: Prometheus) -> bool:
    return await value(asked, "sum(up)") == len(SERVICES)


async def value(asked: Prometheus, expr: str) -> float:
    """Of an expression with one series; NaN before it has any."""
    found = await asyncio.to_thread(asked.query, expr)
    return found[0].points[-1][1] if found else math.nan


async def recorded(asked: Prometheus, seen: Watched) -> bool:
    """Whether Prometheus has looked since the calls that were made again.

    Services are copies of one process here, so that every page has this counter; one counts.
    """
    seen.recorded_retries = await value(asked, f"max(max_over_time({RETRIES}[1h]))")
    return seen.recorded_retries >= seen.retries


def retries_on(port: int) -> float:
    (found,) = re.findall(rf"^{RETRIES} (\S+)$", metrics_page(port), re.MULTILINE)
    return float(found)


async def lose_a_worker(
    running: LocalSuite, client: FlashTalkClient, receiver: AlertReceiver, seen: Watched
) -> None:
    """A session whose decoder is killed, and started again once somebody was told."""
    labels = {"alertname": "FlashTalkTargetDown", "job": f"{JOB}-{KILLED}"}
    receiver.alerts.clear()

    async def disturb() -> None:
        await kill(running, KILLED)
        await until(lambda: bool(receiver.told("firing", **labels)), 120)
        await restart(running, KILLED)

    await disturbed(client, png(face()), speech(4.0), 12, disturb)
    await until(lambda: bool(receiver.told("resolved", **labels)), 120)
    for status in ("firing", "resolved"):
        seen.told[status] = receiver.told(status, **labels)[0]


@contextlib.asynccontextmanager
async def talking(client: FlashTalkClient) -> AsyncIterator[None]:
    """Sessions in real time while the block runs, one after the other; their errors are its own."""

    async def talk() -> None:
        while True:
            await one_session(client)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(talk())
        try:
            yield
        finally:
            task.cancel()


async def one_session(client: FlashTalkClient) -> None:
    """One with a new prompt, an interruption and the rest of its speech; and a call about none."""
    real_time: dict[str, Any] = FILE | {"pacing": pb.PACING_REAL_TIME}
    session = await client.create_session(png(face(1)), seed=1, **real_time)
    events: list[Event] = []
    async with client.stream(session) as stream:
        await stream.push_audio(speech(3.0, 1))
        await collect(stream, events, lambda e: len(frames_of(e)) >= 6)
        prompting = asyncio.create_task(stream.update_prompt("a person in the snow"))
        await collect(stream, events, lambda e: isinstance(e[-1], stream_pb2.PromptUpdated))
        await prompting
        asking = asyncio.create_task(stream.interrupt())
        await collect(stream, events, lambda e: isinstance(e[-1], stream_pb2.Interrupted))
        await asking
        await stream.push_audio(speech(1.2, 2))
        await stream.finish()
        events += [event async for event in stream]
    with pytest.raises(ClientError):
        await client.get_session("nobody")


async def answered(asked: Prometheus, expressions: dict[str, str], seen: Watched) -> None:
    """Asks again and again what has not had data yet; gives up in time to say what it was."""
    left = list(expressions)

    async def ask() -> bool:
        for expr in list(left):
            found = await asyncio.to_thread(asked.query, expr)
            if any(not math.isnan(series.points[-1][1]) for series in found):
                seen.answers[expr] = found
                left.remove(expr)
        return not left

    with contextlib.suppress(TimeoutError):
        await until_true(ask, 100)


def test_every_query_of_every_panel_has_data(watched: Watched) -> None:
    asked = of_panels()
    assert len(asked) >= 50
    assert [what for expr, what in asked.items() if expr not in watched.answers] == []


def test_what_every_alert_looks_at_has_data(watched: Watched) -> None:
    asked = of_alerts()
    assert [name for expr, name in asked.items() if expr not in watched.answers] == []


def test_the_layers_of_a_cycle_are_the_stages_and_what_is_left(watched: Watched) -> None:
    first, rest = [
        watched.answers[filled(query.expr, jobs=f"{JOB}.*", window=WINDOW)]
        for query in queries()
        if query.panel == "Cycle of a chunk by stage"
    ]
    stages = {series.labels["stage"]: series.points[-1][1] for series in first}
    assert stages.keys() == {"audio", "denoise", "decode", "commit"}
    assert all(seconds >= 0 for seconds in stages.values())
    assert rest[0].points[-1][1] >= 0


def test_a_worker_that_is_lost_is_told_with_all_that_helps(watched: Watched) -> None:
    fired, resolved = watched.told["firing"], watched.told["resolved"]
    instance = fired["labels"]["instance"]
    (rule,) = [rule for rule in alerts() if rule["alert"] == "FlashTalkTargetDown"]
    assert fired["labels"]["severity"] == "critical"
    assert fired["annotations"] == {
        "summary": f"{JOB}-{KILLED} at {instance} is down.",
        "description": f"Prometheus cannot scrape {instance}.",
        "runbook": rule["annotations"]["runbook"],
    }
    assert resolved["labels"] == fired["labels"], "it was told that it is over, too"
    assert watched.recorded_retries >= watched.retries >= 1, "its session went on"
