"""What an operator sees of a running suite: traces, metrics and logs of real processes.

Two suites are watched, each from its start to its end: one whose traces are collected and that logs
warnings, one with pages of metrics that logs everything. The tests look at what was seen.
"""

from __future__ import annotations

import asyncio
import collections
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flashtalk.client import Event, FlashTalkClient, SessionStream
from flashtalk.serving.channel import open_channel
from flashtalk.v1 import audio_encoder_service_pb2 as audio_pb2
from flashtalk.v1 import audio_encoder_service_pb2_grpc as audio_grpc
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from services.local import GATEWAY, WORKERS, LocalSuite
from tests.e2e.processes import (
    FILE,
    collect,
    face,
    frames_of,
    held_ports,
    metrics_page,
    patient_client,
    png,
    run,
    speech,
    suite,
)
from tests.fakes.otlp_agent import otlp_agent
from tests.fakes.otlp_collector import Span, collector
from tests.patience import patient, until_true

SERVICES = (*WORKERS, GATEWAY)
STAGES = {("audio_encoder", "audio"), ("dit_worker", "denoise"), ("vae_decoder", "decode")}
Page = dict[str, float]
Lines = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Traced:
    """Of the suite whose traces are collected: three sessions at once, and a call that fails.

    They go to a collector as people run it, which hands on what it took to one that is looked at.
    """

    spans: list[Span]
    sessions: dict[str, list[stream_pb2.ChunkReport]]
    logs: Lines


@dataclass(frozen=True)
class Counted:
    """Of the suite with pages of metrics: a session, one in real time, and a call that fails.

    Args:
        events: of the first session; pages: of every service after it.
        while_paced: the gateway's pages while the second session was open; after_paced: after it.
        paced_events: of the second session.
    """

    events: list[Event]
    pages: dict[str, Page]
    while_paced: list[Page]
    paced_events: list[Event]
    after_paced: dict[str, Page]
    logs: Lines


@pytest.fixture(scope="module")
def traced(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    folder = tmp_path_factory.mktemp("traced")
    sessions: dict[str, list[stream_pb2.ChunkReport]] = {}
    with (
        collector() as collected,
        held_ports(2) as free,
        otlp_agent(folder, collected.endpoint, *free) as endpoint,
    ):
        settings = of_all("OTLP_ENDPOINT", endpoint) | of_all("LOG_LEVEL", "WARNING")

        async def scenario() -> None:
            async with (
                suite(weights, folder, settings=settings) as running,
                patient_client(running) as client,
            ):
                made = await asyncio.gather(*(spoken(client, seed) for seed in range(3)))
                sessions.update({name: reports_of(events) for name, events in made})
                await fail(running)

        run(scenario)
    return Traced(collected.spans, sessions, lines_of(folder))


@pytest.fixture(scope="module")
def counted(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Counted:
    folder = tmp_path_factory.mktemp("counted")
    seen: dict[str, Any] = {}

    async def scenario(ports: dict[str, int]) -> None:
        settings = of_all("LOG_LEVEL", "INFO")
        for name, port in ports.items():
            settings[f"FLASHTALK_{name.upper()}_METRICS_PORT"] = str(port)
        settings["FLASHTALK_AUDIO_ENCODER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"  # nobody is there
        async with (
            suite(weights, folder, settings=settings) as running,
            patient_client(running) as client,
        ):
            _, events = await spoken(client, 0)
            seen.update(events=events, pages=await settled(ports))
            seen["while_paced"], seen["paced_events"] = await paced(client, ports[GATEWAY])
            seen["after_paced"] = await settled(ports)
            await fail(running)

    with held_ports(len(SERVICES)) as free:
        run(lambda: scenario(dict(zip(SERVICES, free, strict=True))))
    return Counted(logs=lines_of(folder), **seen)


def of_all(name: str, value: str) -> dict[str, str]:
    """A setting of every service."""
    return {f"FLASHTALK_{service.upper()}_{name}": value for service in SERVICES}


async def spoken(client: FlashTalkClient, seed: int) -> tuple[str, list[Event]]:
    """A session of 3 s from beginning to end: its name, and everything that it gave.

    Args:
        client: of the suite.
        seed: of noise, portrait and speech.
    """
    session = await client.create_session(png(face(seed)), seed=seed, **FILE)
    async with client.stream(session) as stream:
        await stream.push_audio(speech(3.0, seed))
        await stream.finish()
        return session.session_id, [event async for event in stream]


async def paced(client: FlashTalkClient, port: int) -> tuple[list[Page], list[Event]]:
    """A session in real time: pages of the gateway until one shows frames that wait to leave, and
    everything that it gave."""
    real_time: dict[str, Any] = FILE | {"pacing": pb.PACING_REAL_TIME}
    session = await client.create_session(png(face(1)), seed=1, **real_time)
    pages: list[Page] = []
    events: list[Event] = []
    async with client.stream(session) as stream:
        await stream.push_audio(speech(3.0, 1))
        await collect(stream, events, lambda e: len(frames_of(e)) >= 12)
        reading = asyncio.create_task(read_on(stream, events))
        spoken_frames = 75

        async def something_waits() -> bool:
            nonlocal spoken_frames
            # There is always speech for another second: a slow reader of pages misses nothing.
            if spoken_frames - len(frames_of(events)) < 40:
                await stream.push_audio(speech(1.12, 1))
                spoken_frames += 28
            pages.append(await asyncio.to_thread(read_page, port))
            return pages[-1]["flashtalk_outbox_frames{}"] > 0

        await until_true(something_waits, 200)
        await stream.finish()
        await reading
    return pages, events


async def read_on(stream: SessionStream, events: list[Event]) -> None:
    async for event in stream:
        events.append(event)


async def fail(running: LocalSuite) -> None:
    """A call that no worker can answer, about a session."""
    async with open_channel(running.services["audio_encoder"].target) as channel:
        stub: Any = audio_grpc.AudioEncoderServiceStub(channel)
        request = audio_pb2.EncodeRequest()
        request.key.session_id, request.key.chunk_index, request.key.epoch = "me", 3, 2
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Encode(request, timeout=patient(60))


def lines_of(folder: Path) -> Lines:
    """What every service logged."""
    lines = {}
    for name in SERVICES:
        (log,) = folder.glob(f"*-{name}.log")
        lines[name] = [json.loads(line) for line in log.read_text().splitlines()]
    return lines


async def settled(ports: dict[str, int]) -> dict[str, Page]:
    """Every service's page, once no call of a session runs any more."""
    pages: dict[str, Page] = {}

    async def nothing_runs() -> bool:
        for name, port in ports.items():
            pages[name] = await asyncio.to_thread(read_page, port)
        running = re.compile(r"flashtalk_rpc_running\{method=.*/(Encode|Denoise|Decode|Stream)\}")
        return not any(
            value for page in pages.values() for key, value in page.items() if running.match(key)
        )

    await until_true(nothing_runs)
    return pages


def reports_of(events: list[Event]) -> list[stream_pb2.ChunkReport]:
    return [event for event in events if isinstance(event, stream_pb2.ChunkReport)]


def test_a_chunk_is_one_trace_over_all_services(traced: Traced) -> None:
    traces: dict[str, list[Span]] = collections.defaultdict(list)
    for one in traced.spans:
        traces[one.trace_id].append(one)
    streams = {
        (s.trace_id, s.span_id) for s in traced.spans if s.name.endswith("SessionService/Stream")
    }
    assert len(streams) == len(traced.sessions) == 3
    chunks = [(name, report) for name, reports in traced.sessions.items() for report in reports]
    assert len(chunks) == 9
    assert len({report.trace_id for _, report in chunks}) == 9
    for name, report in chunks:
        check_trace(traced.spans, traces[report.trace_id], name, report, streams)


def check_trace(
    every: list[Span],
    spans: list[Span],
    name: str,
    report: stream_pb2.ChunkReport,
    streams: set[tuple[str, str]],
) -> None:
    (root,) = [span for span in spans if not span.parent_id]
    assert (root.service, root.name) == ("flashtalk-gateway", "chunk")
    key = {"session_id": name, "chunk_index": report.chunk_index, "epoch": 0}
    assert root.about == {**key, "frames": report.frames}
    assert set(root.links) < streams, "it says in which stream it was made"
    assert len(root.links) == 1
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        assert span is root or span.parent_id in by_id, span
        assert root.begun_ns <= span.begun_ns <= span.ended_ns <= root.ended_ns, span
        if "/" in span.name:
            assert span.parent_id == root.span_id
            assert span.about == key, "calls say what they are for"
    stages = {(span.service.removeprefix("flashtalk-"), span.name) for span in spans}
    if ("audio_encoder", "audio") not in stages:
        # Its speech was encoded together with somebody else's: that batch refers to the call here.
        (call,) = [span for span in spans if span.name.endswith("AudioEncoderService/Encode")]
        batches = [s for s in every if (call.trace_id, call.span_id) in s.links]
        assert [(batch.name, batch.service) for batch in batches] == [
            ("audio", "flashtalk-audio_encoder")
        ]
        stages.add(("audio_encoder", "audio"))
    assert stages >= STAGES
    (decode,) = [span for span in spans if span.name == "decode"]
    for stage in ("decode", "color", "motion"):
        assert 0 < decode.about[f"{stage}_s"] * 1e9 < decode.ended_ns - decode.begun_ns


def read_page(port: int) -> Page:
    """All samples of a page, by name and labels; insists that each family is described."""
    samples: Page = {}
    for family in text_string_to_metric_families(metrics_page(port)):
        if family.name.startswith("flashtalk_"):
            assert family.documentation.endswith("."), family.name
            assert re.fullmatch(r"[a-z_0-9]+", family.name)
            if family.type == "histogram":
                assert family.name.endswith(("_seconds", "_windows")), "its unit"
            for sample in family.samples:
                labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
                samples[f"{sample.name}{{{labels}}}"] = sample.value
    return samples


def call_of(service: str, method: str, code: str = "OK") -> str:
    return f"flashtalk_rpc_handled_total{{code={code},method=/flashtalk.v1.{service}/{method}}}"


def test_metrics_count_what_happened(counted: Counted) -> None:
    reports = reports_of(counted.events)
    assert [report.trace_id for report in reports] == [""] * 3, "nobody collects traces"
    check_gateway(counted.pages[GATEWAY], counted.events)
    for role, service, method, stage in (
        ("audio_encoder", "AudioEncoderService", "Encode", "audio"),
        ("dit_worker", "DitWorkerService", "Denoise", "denoise"),
        ("vae_decoder", "VaeDecoderService", "Decode", "decode"),
    ):
        page = counted.pages[role]
        assert page[call_of(service, method)] == 3
        # The warm-up before it was ready is counted too.
        assert page[f"flashtalk_worker_stage_seconds_sum{{stage={stage}}}"] > 0
        assert page[f"flashtalk_worker_stage_seconds_count{{stage={stage}}}"] > 3
        assert page["flashtalk_worker_wait_seconds_count{}"] >= 3
        assert page["flashtalk_worker_pending{}"] == 0
    assert counted.pages["dit_worker"][call_of("DitWorkerService", "Condition")] == 1
    windows = counted.after_paced["audio_encoder"]["flashtalk_audio_encoder_batch_windows_sum{}"]
    assert windows >= 3 + len(reports_of(counted.paced_events))


def test_metrics_of_a_stream_in_real_time(counted: Counted) -> None:
    """What waits while it runs, and when its frames left."""
    for page in counted.while_paced:
        assert page["flashtalk_streams{}"] == 1
        assert page["flashtalk_rpc_running{method=/flashtalk.v1.SessionService/Stream}"] == 1
        assert page["flashtalk_outbox_frames{}"] < 200
    assert counted.while_paced[-1]["flashtalk_outbox_frames{}"] > 0
    before, after = counted.pages[GATEWAY], counted.after_paced[GATEWAY]

    def more(name: str) -> float:
        return after[f"{name}{{}}"] - before[f"{name}{{}}"]

    chunks = len(reports_of(counted.paced_events))
    assert chunks >= 3
    assert more("flashtalk_chunks_total") == more("flashtalk_chunk_late_seconds_count") == chunks
    assert more("flashtalk_first_frame_seconds_count") == 1
    assert more("flashtalk_first_frame_seconds_sum") > 0


def check_gateway(page: Page, events: list[Event]) -> None:
    frames = len(frames_of(events))
    assert page["flashtalk_chunks_total{}"] == page["flashtalk_chunk_seconds_count{}"] == 3
    assert page["flashtalk_frames_sent_total{}"] == frames == 75
    assert page[call_of("SessionService", "Stream")] == 1
    assert page[call_of("SessionService", "CreateSession")] == 1
    assert page["flashtalk_first_frame_seconds_count{}"] == 1
    stages = [k for k in page if k.startswith("flashtalk_chunk_stage_seconds_count")]
    assert {k.split("stage=")[1].rstrip("}") for k in stages} == {
        "audio",
        "denoise",
        "decode",
        "commit",
    }
    assert all(page[k] == 3 for k in stages), {k: page[k] for k in stages}
    spent_s = [v for k, v in page.items() if k.startswith("flashtalk_chunk_stage_seconds_sum")]
    assert 0 < max(spent_s) <= page["flashtalk_chunk_seconds_sum{}"], "stages are parts of chunks"
    assert page["flashtalk_chunk_retries_total{}"] == 0
    assert page["flashtalk_chunk_late_seconds_count{}"] == 0, "nothing was due"
    for gauge in ("streams", "outbox_frames", "intake_samples"):
        assert page[f"flashtalk_{gauge}{{}}"] == 0, f"{gauge} is over"


def check_lines(logs: Lines) -> None:
    for name, lines in logs.items():
        for line in lines:
            assert line["service"] == name
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
            assert {"level", "logger", "message"} <= line.keys()


def failed_calls(logs: Lines) -> list[dict[str, Any]]:
    return [line for line in logs["audio_encoder"] if line["message"] == "call failed"]


def test_logs_are_json_and_say_whom_they_are_about(counted: Counted) -> None:
    check_lines(counted.logs)
    for lines in counted.logs.values():
        assert {"ready", "stopped"} <= {line["message"] for line in lines}
    (line,) = failed_calls(counted.logs)
    assert (line["session_id"], line["chunk_index"], line["epoch"]) == ("me", 3, 2)
    assert (line["field"], line["code"]) == ("pcm", "INVALID_ARGUMENT")
    assert re.fullmatch("[0-9a-f]{32}", line["trace_id"])


def test_logs_of_warnings_leave_out_what_is_none(traced: Traced) -> None:
    check_lines(traced.logs)
    for lines in traced.logs.values():
        assert not {"ready", "stopped"} <= {line["message"] for line in lines}
    assert not failed_calls(traced.logs), "what a caller did wrong is no warning to an operator"
