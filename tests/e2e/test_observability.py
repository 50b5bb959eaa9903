"""What an operator sees of a running suite: traces, metrics and logs of real processes."""

from __future__ import annotations

import asyncio
import collections
import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flashtalk.client import Event, FlashTalkClient
from flashtalk.serving.channel import open_channel
from flashtalk.v1 import audio_encoder_service_pb2 as audio_pb2
from flashtalk.v1 import audio_encoder_service_pb2_grpc as audio_grpc
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from services.local import GATEWAY, WORKERS
from tests.e2e.processes import FILE, face, frames_of, png, run, speech, suite
from tests.fakes.free_ports import free_ports
from tests.fakes.otlp_collector import Span, collector

SERVICES = (*WORKERS, GATEWAY)
STAGES = {("audio_encoder", "audio"), ("dit_worker", "denoise"), ("vae_decoder", "decode")}


async def spoken(
    gateway: str, seed: int, look: Callable[[], None] | None = None, **fields: Any
) -> tuple[str, list[Event]]:
    """A session from beginning to end: its name, and everything that it gave.

    Args:
        gateway: HOST:PORT.
        seed: of noise, portrait and speech.
        look: what is done after half a second of video.
        fields: of the session.
    """
    async with FlashTalkClient(gateway) as client:
        session = await client.create_session(png(face(seed)), seed=seed, **(FILE | fields))
        async with client.stream(session) as stream:
            await stream.push_audio(speech(3.0, seed))
            await stream.finish()
            events = [await anext(stream) for _ in range(12)]
            if look is not None:
                await asyncio.to_thread(look)
            return session.session_id, events + [event async for event in stream]


def reports_of(events: list[Event]) -> list[stream_pb2.ChunkReport]:
    return [event for event in events if isinstance(event, stream_pb2.ChunkReport)]


def test_a_chunk_is_one_trace_over_all_services(weights: Path, tmp_path: Path) -> None:
    with collector() as collected:
        settings = {
            f"FLASHTALK_{name.upper()}_OTLP_ENDPOINT": collected.endpoint for name in SERVICES
        }
        sessions: dict[str, list[stream_pb2.ChunkReport]] = {}

        async def scenario() -> None:
            async with suite(weights, tmp_path, settings=settings) as running:
                made = await asyncio.gather(*(spoken(running.gateway, n) for n in range(3)))
                sessions.update({name: reports_of(events) for name, events in made})

        run(scenario)
    traces: dict[str, list[Span]] = collections.defaultdict(list)
    for one in collected.spans:
        traces[one.trace_id].append(one)
    streams = {
        (s.trace_id, s.span_id) for s in collected.spans if s.name.endswith("SessionService/Stream")
    }
    assert len(streams) == len(sessions) == 3
    chunks = [(name, report) for name, reports in sessions.items() for report in reports]
    assert len(chunks) == 9
    assert len({report.trace_id for _, report in chunks}) == 9
    for name, report in chunks:
        check_trace(collected.spans, traces[report.trace_id], name, report, streams)


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


def read_page(port: int) -> dict[str, float]:
    """All samples of a page, by name and labels; insists that each family is described."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        text = page.read().decode()
    samples: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
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


def test_metrics_count_what_happened(weights: Path, tmp_path: Path) -> None:
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    settings = {f"FLASHTALK_{name.upper()}_METRICS_PORT": str(port) for name, port in ports.items()}

    async def scenario() -> None:
        async with suite(weights, tmp_path, settings=settings) as running:
            _, events = await spoken(running.gateway, 0)
            pages = {name: read_page(port) for name, port in ports.items()}
            reports = reports_of(events)
            assert [report.trace_id for report in reports] == [""] * 3, "nobody collects traces"
            check_gateway(pages[GATEWAY], events)
            for role, service, method, stage in (
                ("audio_encoder", "AudioEncoderService", "Encode", "audio"),
                ("dit_worker", "DitWorkerService", "Denoise", "denoise"),
                ("vae_decoder", "VaeDecoderService", "Decode", "decode"),
            ):
                page = pages[role]
                assert page[call_of(service, method)] == 3
                # The warm-up before it was ready is counted too.
                seconds = page[f"flashtalk_worker_stage_seconds_sum{{stage={stage}}}"]
                assert page[f"flashtalk_worker_stage_seconds_count{{stage={stage}}}"] > 3
                assert 0 < seconds < 60
                assert page["flashtalk_worker_wait_seconds_count{}"] >= 3
                assert page["flashtalk_worker_pending{}"] == 0
            assert pages["dit_worker"][call_of("DitWorkerService", "Condition")] == 1
            await check_paced(running.gateway, ports[GATEWAY])
            assert pages["audio_encoder"]["flashtalk_audio_encoder_batch_windows_sum{}"] >= 3

    run(scenario)


async def check_paced(gateway: str, port: int) -> None:
    """Of a stream in real time: what waits while it runs, and when its frames left."""

    def look() -> None:
        page = read_page(port)
        assert page["flashtalk_streams{}"] == 1
        assert page["flashtalk_rpc_running{method=/flashtalk.v1.SessionService/Stream}"] == 1

    before = read_page(port)
    pages: list[dict[str, float]] = []
    counted = asyncio.create_task(noted(port, pages))
    try:
        await spoken(gateway, 1, look, pacing=pb.PACING_REAL_TIME)
    finally:
        counted.cancel()
    after = read_page(port)

    def more(name: str) -> float:
        return after[f"{name}{{}}"] - before[f"{name}{{}}"]

    assert more("flashtalk_chunks_total") == more("flashtalk_chunk_late_seconds_count") == 3
    assert more("flashtalk_first_frame_seconds_count") == 1
    assert 0 < more("flashtalk_first_frame_seconds_sum") < 5
    assert max(page["flashtalk_outbox_frames{}"] for page in pages) > 0
    assert max(page["flashtalk_outbox_frames{}"] for page in pages) < 200


async def noted(port: int, pages: list[dict[str, float]]) -> None:
    while True:
        pages.append(await asyncio.to_thread(read_page, port))
        await asyncio.sleep(0.1)


def check_gateway(page: dict[str, float], events: list[Event]) -> None:
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
    spent_s = sum(v for k, v in page.items() if k.startswith("flashtalk_chunk_stage_seconds_sum"))
    assert 0 < spent_s < 2 * page["flashtalk_chunk_seconds_sum{}"], "stages are parts of chunks"
    assert page["flashtalk_chunk_retries_total{}"] == 0
    assert page["flashtalk_chunk_late_seconds_count{}"] == 0, "nothing was due"
    for gauge in ("streams", "outbox_frames", "intake_samples"):
        assert page[f"flashtalk_{gauge}{{}}"] == 0, f"{gauge} is over"


@pytest.mark.parametrize("level", ["INFO", "WARNING"])
def test_logs_are_json_and_say_whom_they_are_about(
    weights: Path, tmp_path: Path, level: str
) -> None:
    settings = {f"FLASHTALK_{name.upper()}_LOG_LEVEL": level for name in SERVICES}
    settings["FLASHTALK_AUDIO_ENCODER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"  # nobody is there

    async def scenario() -> None:
        async with suite(weights, tmp_path, settings=settings) as running:
            await spoken(running.gateway, 0)
            async with open_channel(running.services["audio_encoder"].target) as channel:
                stub: Any = audio_grpc.AudioEncoderServiceStub(channel)
                request = audio_pb2.EncodeRequest()
                request.key.session_id, request.key.chunk_index, request.key.epoch = "me", 3, 2
                with pytest.raises(grpc.aio.AioRpcError):
                    await stub.Encode(request, timeout=10)

    run(scenario)
    lines = {}
    for name in SERVICES:
        (log,) = tmp_path.glob(f"*-{name}.log")
        lines[name] = [json.loads(line) for line in log.read_text().splitlines()]
        for line in lines[name]:
            assert line["service"] == name
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
            assert {"level", "logger", "message"} <= line.keys()
        told = {line["message"] for line in lines[name]}
        assert ({"ready", "stopped"} <= told) is (level == "INFO")
    failed = [line for line in lines["audio_encoder"] if line["message"] == "call failed"]
    if level == "WARNING":
        assert not failed, "what a caller did wrong is no warning to an operator"
        return
    (line,) = failed
    assert (line["session_id"], line["chunk_index"], line["epoch"]) == ("me", 3, 2)
    assert (line["field"], line["code"]) == ("pcm", "INVALID_ARGUMENT")
    assert re.fullmatch("[0-9a-f]{32}", line["trace_id"])
