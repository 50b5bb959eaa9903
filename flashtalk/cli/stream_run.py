"""Runs ``flashtalk bench stream``: sessions of a running suite, and arrival times of their chunks.

Imports no torch: the suite computes.

Legend: S samples.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import io
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from rich.console import Console
from rich.table import Table

from flashtalk.bounds import check_above, check_between
from flashtalk.cli.bench_inputs import packets, portrait, sound
from flashtalk.cli.gateway_options import open_client
from flashtalk.cli.limits import check_report, make_folder, save_report
from flashtalk.cli.spread import Spread
from flashtalk.cli.talk_ends import sendable
from flashtalk.client import ClientError, FlashTalkClient, SessionStream
from flashtalk.errors import FlashTalkError
from flashtalk.streaming import PCM_HZ, Pcm, parse_size_hw
from flashtalk.terminal import report_console
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2

JSON_FORMAT = 1
_MOST_CHUNKS, _MOST_SESSIONS, _LONGEST_PATIENCE_S, _FAREWELL_S = 100_000, 1_000, 3_600, 5.0
_PACKAGES = ("flashtalk", "grpcio", "protobuf")


@dataclass(frozen=True)
class Arrival:
    """A received chunk.

    Args:
        at_s: arrival of its report, on this machine's clock.
        media_s: duration of its frames.
        retries: number of its failed attempts.
        stages_s: time per stage, reported by the gateway.
    """

    at_s: float
    media_s: float
    retries: int = 0
    stages_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Paces:
    """Measured chunks of all sessions.

    Args:
        periods_s: time between the reports of the previous chunk and this one.
        ratios: the same as a fraction of each duration.
    """

    periods_s: tuple[float, ...]
    ratios: tuple[float, ...]

    @classmethod
    def of(cls, sessions: Sequence[Sequence[Arrival]], warmup: int) -> Paces:
        """Computes it from the arrivals of each session, after ``warmup`` (at least 1) chunks."""
        pairs = [
            (after.at_s - before.at_s, after.media_s)
            for arrivals in sessions
            for before, after in zip(arrivals[warmup - 1 :], arrivals[warmup:], strict=False)
        ]
        return cls(tuple(period for period, _ in pairs), tuple(p / media for p, media in pairs))


@dataclass(frozen=True)
class _Plan:
    picture: bytes
    pcm_S: Pcm
    size_hw: tuple[int, int] | None
    sessions: int
    warmup: int
    chunks: int


def stream(args: argparse.Namespace) -> int:
    """Measures, writes, prints; returns the exit code."""
    plan = _checked(args)
    sessions = asyncio.run(_measure(args, plan))
    report = as_json(args.gateway, plan.warmup, sessions)
    save_report(report, args.out)
    console = report_console()
    show(report, console)
    console.print(f"{args.out}: written", highlight=False, soft_wrap=True, markup=False)
    return 0


def _checked(args: argparse.Namespace) -> _Plan:
    check_between("sessions", args.sessions, 1, _MOST_SESSIONS)
    check_between("warmup", args.warmup, 1, _MOST_CHUNKS)
    check_between("chunks", args.chunks, 1, _MOST_CHUNKS)
    check_above("patience", args.patience, _LONGEST_PATIENCE_S, "seconds")
    size_hw = parse_size_hw(args.size) if args.size is not None else None
    make_folder(args.out)
    check_report(args.out)
    if args.image is not None:
        picture = sendable(args.image)
    else:
        drawn = io.BytesIO()
        Image.fromarray(portrait(None)).save(drawn, "PNG")
        picture = drawn.getvalue()
    speech_S = sound(args.audio, PCM_HZ)
    return _Plan(picture, speech_S, size_hw, args.sessions, args.warmup, args.chunks)


async def _measure(args: argparse.Namespace, plan: _Plan) -> list[list[Arrival]]:
    async with open_client(args) as client:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(_session(client, plan, seed)) for seed in range(plan.sessions)
                ]
        except* FlashTalkError as errors:
            # The other tasks were cancelled: the first error is the cause.
            raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _session(client: FlashTalkClient, plan: _Plan, seed: int) -> list[Arrival]:
    size = plan.size_hw and (plan.size_hw[1], plan.size_hw[0])
    session = await client.create_session(
        plan.picture,
        seed=seed,
        size=size,
        idle_policy=pb.IDLE_POLICY_WAIT,
        pacing=pb.PACING_UNLIMITED,
        wait_for_slot=True,
    )
    try:
        async with client.stream(session) as opened:
            speaking = asyncio.create_task(_speak(opened, plan))
            try:
                return [
                    _arrival(event, session)
                    async for event in opened
                    if isinstance(event, stream_pb2.ChunkReport)
                ]
            finally:
                speaking.cancel()
                with contextlib.suppress(asyncio.CancelledError, ClientError):
                    await speaking
    finally:
        with contextlib.suppress(ClientError, TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await client.delete_session(session.session_id)


async def _speak(opened: SessionStream, plan: _Plan) -> None:
    """Returns whole chunks, so that the last one has the same duration."""
    spec = opened.session.spec
    samples = (plan.warmup + plan.chunks) * spec.chunk_frames * spec.samples_per_frame
    for packet_S in packets(plan.pcm_S, samples, spec.sample_rate_hz):
        await opened.push_audio(packet_S)
    await opened.finish()


def _arrival(report: stream_pb2.ChunkReport, session: pb.Session) -> Arrival:
    stages_s = {s.stage: s.duration.ToNanoseconds() / 1e9 for s in report.stages}
    media_s = report.frames / session.spec.fps
    return Arrival(time.perf_counter(), media_s, report.retries, stages_s)


def as_json(gateway: str, warmup: int, sessions: Sequence[Sequence[Arrival]]) -> dict[str, Any]:
    """Returns everything as plain values; names contain units."""
    paces = Paces.of(sessions, warmup)
    period, ratio = Spread.of(paces.periods_s), Spread.of(paces.ratios)
    counted = [arrival for arrivals in sessions for arrival in arrivals[warmup:]]
    names = sorted({name for arrival in counted for name in arrival.stages_s})
    stages = {
        name: Spread.of([a.stages_s[name] for a in counted if name in a.stages_s]) for name in names
    }
    return {
        "format": JSON_FORMAT,
        "table": "stream",
        "caller": {
            "system": platform.platform(),
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "setting": {
            "gateway": gateway,
            "sessions": len(sessions),
            "warmup_chunks": warmup,
            "chunks": ratio.count,
        },
        "period_over_media": {"p50": ratio.p50, "p95": ratio.p95, "worst": max(paces.ratios)},
        "period": {"p50_ms": 1e3 * period.p50, "p95_ms": 1e3 * period.p95},
        "keeps_up": ratio.p95 < 1,
        "retries": sum(arrival.retries for arrival in counted),
        "stages": {
            name: {"p50_ms": 1e3 * of.p50, "p95_ms": 1e3 * of.p95} for name, of in stages.items()
        },
    }


def show(report: dict[str, Any], console: Console) -> None:
    """Prints the table."""
    setting, ratio = report["setting"], report["period_over_media"]
    several = "sessions" if setting["sessions"] > 1 else "session"
    title = f"{setting['sessions']} {several} at {setting['gateway']}, {setting['chunks']} chunks"
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("p50", "p95"):
        table.add_column(heading, justify="right")
    table.add_row("chunk period / media time", f"{ratio['p50']:.3f}", f"{ratio['p95']:.3f}")
    rows = {"chunk period, ms": report["period"]}
    rows |= {f"{name} at the gateway, ms": of for name, of in report["stages"].items()}
    for name, of in rows.items():
        table.add_row(name, f"{of['p50_ms']:.1f}", f"{of['p95_ms']:.1f}")
    console.print(table)
    verdict = "keeps up" if report["keeps_up"] else "does not keep up"
    console.print(
        f"{verdict}: worst chunk {ratio['worst']:.3f}, {report['retries']} retries", highlight=False
    )
