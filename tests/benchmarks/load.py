"""``python -m tests.benchmarks.load``: how many callers one gateway serves, what a chunk costs it.

Stand-in workers take the times of the report's Table 4 and compute nothing: what is measured is
the gateway and its transport. Callers, workers and gateway share this machine, so the numbers say
what it carries with all three on it; the gateway's own processor time per chunk is exact.

Legend: see callers.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.progress import Progress

from flashtalk.cli.bench_report import load_average, machine
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import session_service_pb2_grpc as pb_grpc
from flashtalk.wire.proxies import NO_PROXY
from tests.benchmarks.callers import (
    CHUNK_FRAMES,
    FPS,
    Caller,
    Noticed,
    Turns,
    creation,
    percentiles_ms,
)
from tests.benchmarks.load_tables import show, show_policies
from tests.benchmarks.plain_callers import PlainCaller, connect
from tests.benchmarks.rig import TABLE_4_S, Rig, Usage, as_figures, rig
from tests.fakes.real_redis import redis_server
from tests.patience import patient

CHUNK_S = CHUNK_FRAMES / FPS
COMPUTE_S = sum(TABLE_4_S.values())
_CALLERS_PER_CHANNEL = 25
_REFUSALS_PER_S = 20


@dataclass(frozen=True)
class Watched:
    """What happened while the callers were watched.

    Args:
        begun_s, middle_s, end_s: monotonic seconds; refusals were asked for from the middle on.
        noticed: by every caller.
        used: by every process, between beginning and end; used_before: to the middle.
        rss_bytes: of the gateway at the end.
        refusals_s: how long each took.
    """

    begun_s: float
    middle_s: float
    end_s: float
    noticed: Sequence[Noticed]
    used: Mapping[str, Usage]
    used_before: Mapping[str, Usage]
    rss_bytes: int
    refusals_s: Sequence[float]

    def overheads_s(self, from_s: float, to_s: float) -> list[float]:
        """Wall time of the chunks reported in between, less what the workers take."""
        chunks = [chunk for caller in self.noticed for chunk in caller.chunks]
        return [wall - COMPUTE_S for at, wall, _ in chunks if from_s <= at < to_s]

    @property
    def played(self) -> int:
        """Chunks that no model made."""
        times_s = (at for caller in self.noticed for at in caller.played)
        return sum(self.begun_s <= at < self.end_s for at in times_s)

    def figures(self) -> dict[str, Any]:
        """For the tables and the JSON."""
        took_s, count = self.end_s - self.begun_s, len(self.noticed)
        played = self.played
        over_s = self.overheads_s(self.begun_s, self.end_s)
        lags_s = [lag for caller in self.noticed for lag in caller.lags_s(self.begun_s)]
        late_s = [late for c in self.noticed for at, _, late in c.chunks if at >= self.begun_s]
        shown = {
            "overhead": over_s,
            "lag": lags_s,
            "late": late_s,
            "refusal": self.refusals_s,
            "overhead_before": self.overheads_s(self.begun_s, self.middle_s),
            "overhead_while_refusing": self.overheads_s(self.middle_s, self.end_s),
        }
        spread: dict[str, float] = {}
        for name, values_s in shown.items():
            spread[f"{name}_p50_ms"], spread[f"{name}_p99_ms"] = percentiles_ms(values_s)
        return {
            "callers": count,
            "chunks_per_s": (len(over_s) + played) / took_s,
            "computed_share": len(over_s) / max(1, len(over_s) + played),
            "wanted_chunks_per_s": count / CHUNK_S,
            "gateway_cpu_ms_per_chunk": 1e3
            * self.used["gateway"].cpu_s
            / max(1, len(over_s) + played),
            "gateway_cpu_ms_per_chunk_before": 1e3
            * self.used_before["gateway"].cpu_s
            / max(1, len(shown["overhead_before"])),
            **spread,
            "frames": [caller.frames for caller in self.noticed],
            "misplaced_frames": sum(caller.misplaced for caller in self.noticed),
            "underruns": sum(caller.underruns for caller in self.noticed),
            "refused": len(self.refusals_s),
            "cores": {name: used.cpu_s / took_s for name, used in self.used.items()},
            "gateway_rss_mib": self.rss_bytes / 2**20,
        }


@dataclass(frozen=True)
class Course:
    """How the callers are watched.

    Args:
        seconds: counted; in the second half more sessions are asked for than there is room for.
        ramp_s: in which they begin, one after the other.
        settle_s: from then on until it counts.
        frames_per_message: that callers ask for.
        plain: callers and workers cost as little as they can; else callers are clients of gRPC
            and workers give every chunk answers of its own.
        own_core: the gateway has a core that nobody else uses.
        refusals: whether sessions beyond capacity are asked for.
        speech_share: of the time in which a caller speaks; period_s: an utterance and a pause.
        idle_policy: number of ``IdlePolicy``; 0: the server's default.
    """

    seconds: float
    ramp_s: float
    settle_s: float
    frames_per_message: int = 7
    plain: bool = True
    own_core: bool = False
    refusals: bool = True
    speech_share: float = 1.0
    period_s: float = 12.0
    idle_policy: int = 0

    @property
    def workers_module(self) -> str:
        """The program of the stand-in workers."""
        return f"tests.{'benchmarks.plain' if self.plain else 'fakes.stand_in'}_workers"


def channel_of_its_own(target: str) -> grpc.aio.Channel:
    """One that shares no connection with others; past any proxy of the environment."""
    options = [NO_PROXY, ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(target, options=options)  # noqa: TID251


async def serve_callers(running: Rig, count: int, course: Course) -> Watched:
    """So many callers for so long, after all of them have begun."""
    until, draw = asyncio.Event(), random.Random(count)
    callers: list[Caller] = []
    places = range(0, count, _CALLERS_PER_CHANNEL)
    channels = [channel_of_its_own(running.target) for _ in places]
    connections = [await connect(running.target) for _ in places] if course.plain else []
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                place = number // _CALLERS_PER_CHANNEL
                together = course.frames_per_message
                begun_s = draw.uniform(0, course.period_s)
                turns = Turns(course.speech_share, course.period_s, begun_s)
                caller = (
                    PlainCaller(channels[place], connections[place], number, together, turns)
                    if course.plain
                    else Caller(channels[place], number, together, turns)
                )
                callers.append(caller)
                group.create_task(caller.run(until, idle_policy=course.idle_policy))
                await asyncio.sleep(course.ramp_s / count * draw.uniform(0.5, 1.5))
            await asyncio.sleep(course.settle_s)
            before, begun_s = running.usage(), time.monotonic()
            await asyncio.sleep(course.seconds / 2)
            middle, middle_s = running.usage(), time.monotonic()
            refusals_s: list[float] = []
            if course.refusals:
                refusals_s = await _ask_in_vain(running, course.seconds / 2)
            else:
                await asyncio.sleep(course.seconds / 2)
            after, end_s = running.usage(), time.monotonic()
            until.set()
    finally:
        for connection in connections:
            connection.close()
        for channel in channels:
            await channel.close()
    return Watched(
        begun_s,
        middle_s,
        end_s,
        [caller.noticed for caller in callers],
        {name: used.since(before[name]) for name, used in after.items()},
        {name: used.since(before[name]) for name, used in middle.items()},
        after["gateway"].rss_bytes,
        refusals_s,
    )


async def _ask_in_vain(running: Rig, seconds: float) -> list[float]:
    """Asks for sessions that there is no room for; how long each refusal took."""
    took: list[float] = []
    until_s = time.monotonic() + seconds
    async with channel_of_its_own(running.target) as channel:
        stub: Any = pb_grpc.SessionServiceStub(channel)
        while time.monotonic() < until_s:
            begun_s = time.monotonic()
            try:
                await stub.CreateSession(creation(), timeout=patient(30))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                took.append(time.monotonic() - begun_s)
            else:
                raise AssertionError("a session beyond capacity was made")
            await asyncio.sleep(max(0.0, begun_s + 1 / _REFUSALS_PER_S - time.monotonic()))
    return took


@contextlib.asynccontextmanager
async def _store(name: str, folder: Path) -> AsyncIterator[str]:
    if name == "memory":
        yield "memory://"
        return
    place = folder / "redis"
    place.mkdir()
    with redis_server(place) as redis:
        yield redis.url


async def measure(counts: list[int], course: Course, store: str, console: Console) -> list[Any]:
    """Every number of callers on a gateway of its own; the last one also with refusals."""
    results = []
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("callers", total=len(counts))
        for count in counts:
            with tempfile.TemporaryDirectory(prefix="flashtalk-load-") as name:
                async with (
                    _store(store, Path(name)) as url,
                    rig(
                        Path(name),
                        TABLE_4_S,
                        slots=count,
                        store=url,
                        workers_module=course.workers_module,
                    ) as running,
                ):
                    if course.own_core:
                        running.give_cores()
                    watched = await serve_callers(running, count, course)
                    results.append(watched.figures())
            progress.advance(bar)
    return results


def measure_policies(counts: list[int], course: Course, store: str, console: Console) -> list[Any]:
    """``measure`` for the idle policies that move the picture."""
    results = []
    for policy in (pb.IDLE_POLICY_MODEL, pb.IDLE_POLICY_LOOP):
        once = dataclasses.replace(course, idle_policy=policy, refusals=False)
        found = asyncio.run(measure(counts, once, store, console))
        name = pb.IdlePolicy.Name(policy).removeprefix("IDLE_POLICY_")
        results += [{"idle_policy": name, **result} for result in found]
    return results


def main() -> int:
    """Measures, prints, writes JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.load", description=__doc__)
    parser.add_argument("--callers", default="25,50,100,150,200", help="numbers, with commas")
    parser.add_argument("--seconds", type=float, default=20.0, help="counted (%(default)s)")
    parser.add_argument("--ramp", type=float, default=4.0, help="seconds (%(default)s)")
    parser.add_argument(
        "--frames-per-message", type=int, default=7, help="that callers ask for (%(default)s)"
    )
    parser.add_argument("--settle", type=float, default=4.0, help="seconds (%(default)s)")
    parser.add_argument("--store", default="memory", choices=("memory", "redis"))
    parser.add_argument(
        "--grpc", action="store_true", help="callers are clients of gRPC, workers answer at length"
    )
    parser.add_argument(
        "--own-core", action="store_true", help="the gateway's; everybody else has the others"
    )
    parser.add_argument(
        "--no-refusals", action="store_true", help="ask for no sessions beyond capacity"
    )
    parser.add_argument(
        "--speech-share",
        type=float,
        default=1.0,
        help="of the time that a caller speaks; below 1 two idle policies are measured",
    )
    parser.add_argument(
        "--period", type=float, default=12.0, help="an utterance and a pause, s (%(default)s)"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    console = Console()
    average = load_average()
    counts = [int(count) for count in given.callers.split(",")]
    course = Course(
        given.seconds,
        given.ramp,
        given.settle,
        given.frames_per_message,
        plain=not given.grpc,
        own_core=given.own_core,
        refusals=not given.no_refusals,
        speech_share=given.speech_share,
        period_s=given.period,
    )
    if given.speech_share < 1:
        results = measure_policies(counts, course, given.store, console)
        show_policies(results, given.speech_share, console)
    else:
        results = asyncio.run(measure(counts, course, given.store, console))
        show(results, given.store, console)
    if given.out is not None:
        report = {
            "machine": machine(),
            "load_average": average,
            "store": given.store,
            "stage_s": TABLE_4_S,
            "plain": course.plain,
            "own_core": course.own_core,
            "speech_share": course.speech_share,
            "period_s": course.period_s,
            "results": [as_figures(result) for result in results],
        }
        given.out.write_text(json.dumps(report, indent=2) + "\n")
        console.print(f"{given.out}: written", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
