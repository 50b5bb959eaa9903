"""``python -m tests.benchmarks.soak``: half an hour of stream, then sessions that come and go.

Real processes: gateway, audio encoder, DiT worker, VAE decoder and Redis, with a micro model whose
chunks take a few hundredths of a second, so that half an hour of video passes in minutes. Watches
memory, threads and open files of every process, insists that every sample comes back at its place,
and counts what is left in the end: sessions, slots, tasks, keys. Sessions that nobody ended are
over when their time is: for that what Redis has is made older, nobody waits. What the first 12
seconds gave they have to give again in the end, to the bit.

Exit codes: 0 nothing grew and nothing is left, 1 something did.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from flashtalk.cli.bench_report import machine
from flashtalk.cli.bench_soak import FLAT_MIB
from flashtalk.client import FlashTalkClient
from tests.benchmarks.watched_suite import SLOTS, Watch, WatchedSuite, watched_suite
from tests.benchmarks.wear import TTL_S, churn, stream_for
from tests.fakes.real_redis import RedisServer, redis_server
from tests.fakes.weights import micro_pipeline, write_own
from tests.patience import until_true

_LOOKS = 5
_REPEATED_MIN = 0.2


async def soak(
    minutes: float, sessions: int, ranks: Mapping[str, int], folder: Path, console: Console
) -> dict[str, Any]:
    """Both phases; everything that was found."""
    weights = write_own(micro_pipeline(), folder / "tiny")
    place = folder / "redis"
    place.mkdir()
    with redis_server(place) as redis, Progress(console=console, transient=True) as progress:
        async with watched_suite(weights, folder, redis, ranks) as suite:
            async with FlashTalkClient(suite.target) as client:
                # Once through everything: what is opened at first use is not a leak.
                first = await stream_for(client, _REPEATED_MIN, lambda _: None)
                await churn(client, 8, lambda: None)
                before = await settled(suite, redis, {})
                bar = progress.add_task("stream", total=60 * minutes)
                watch = Watch(suite)
                streamed = await stream_for(
                    client, minutes, lambda s: _tick(progress, bar, watch, s)
                )
                bar = progress.add_task("sessions", total=sessions)
                wear = Watch(suite)
                done = 0

                def ended() -> None:
                    nonlocal done
                    done += 1
                    wear.note(float(done))
                    progress.update(bar, completed=done)

                kinds = await churn(client, sessions, ended)
                last = await stream_for(client, _REPEATED_MIN, lambda _: None)
            after = await settled(suite, redis, before)
            return {
                "ranks": dict(ranks),
                "stream": streamed,
                "repeated": first["digest"] == last["digest"],
                "memory": watch.report(),
                "sessions": kinds,
                "memory_over_sessions": wear.report(),
                "left_before": before,
                "left_after": after,
            }


async def settled(
    suite: WatchedSuite, redis: RedisServer, before: dict[str, float]
) -> dict[str, float]:
    """What is left once the sessions' time is over; the least of a few looks, since what goes on
    by itself comes and goes. After a deadline it is what it is."""
    await redis.age("flashtalk", TTL_S + 1.0)
    left: dict[str, float] = {}
    wanted = {"leases": 0.0, "streams": 0.0, "free slots": float(SLOTS), **before}

    async def is_over() -> bool:
        looks = [await suite.left() for _ in range(_LOOKS)]
        left.update({name: min(look[name] for look in looks) for name in looks[0]})
        return not grown(wanted, left)

    with contextlib.suppress(TimeoutError):
        await until_true(is_over, 60)
    return left


def grown(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """What there is more of than before, or less of free slots."""
    return [
        name
        for name, value in before.items()
        if (after[name] < value if name == "free slots" else after[name] > value)
    ]


def _tick(progress: Progress, bar: Any, watch: Watch, video_s: float) -> None:
    watch.note(video_s)
    progress.update(bar, completed=video_s)


def faults(found: dict[str, Any]) -> list[str]:
    """What is not as it should be, in words."""
    wrong = []
    if found["stream"]["misplaced_samples"]:
        wrong.append(f"{found['stream']['misplaced_samples']} samples out of place")
    if not found["repeated"]:
        wrong.append("the first seconds are not what they were")
    for phase in ("memory", "memory_over_sessions"):
        for name, row in found[phase].items():
            if row["growth_mib"] > FLAT_MIB:
                wrong.append(f"{phase}: {name} grew by {row['growth_mib']} MiB")
    before, after = found["left_before"], found["left_after"]
    for name in grown(before, after):
        wrong.append(f"{name}: {before[name]} before, {after[name]} after")
    return wrong


def show(found: dict[str, Any], console: Console) -> None:
    """The tables."""
    streamed = found["stream"]
    console.print(
        f"{streamed['video_minutes']:.1f} minutes of video in {streamed['wall_minutes']:.1f}: "
        f"{streamed['chunks']} chunks, {streamed['misplaced_samples']} samples out of place, "
        f"retries {streamed['retries']}; begun again it is "
        f"{'the same' if found['repeated'] else 'ANOTHER'}",
        soft_wrap=True,
    )
    for phase, title in (
        ("memory", "memory over the stream, MiB"),
        ("memory_over_sessions", f"memory over {sum(found['sessions'].values())} sessions, MiB"),
    ):
        table = Table(title=title)
        for column in ("process", "2nd quarter", "4th quarter", "growth", "slope / h", "files"):
            table.add_column(column, justify="right" if column != "process" else "left")
        for name, row in found[phase].items():
            table.add_row(
                name,
                f"{row['early_mib']:.1f}",
                f"{row['late_mib']:.1f}",
                f"{row['growth_mib']:+.1f}",
                f"{row['slope_mib_per_hour']:+.1f}" if phase == "memory" else "",
                f"{row['files_before']} -> {row['files_after']}",
            )
        console.print(table)
    console.print(f"sessions: {found['sessions']}", soft_wrap=True)
    console.print(f"left before: {found['left_before']}", soft_wrap=True)
    console.print(f"left after:  {found['left_after']}", soft_wrap=True)


def main() -> int:
    """Measures, prints, writes JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="of video (%(default)s)")
    parser.add_argument("--sessions", type=int, default=300, help="that come and go (%(default)s)")
    parser.add_argument("--ranks", type=int, default=1, help="of the DiT worker (%(default)s)")
    parser.add_argument("--vae-ranks", type=int, default=1, help="of the VAE (%(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    console = Console()
    asked = {"dit_worker": given.ranks, "vae_decoder": given.vae_ranks}
    ranks = {name: count for name, count in asked.items() if count > 1}
    with tempfile.TemporaryDirectory(prefix="flashtalk-soak-") as folder:
        found = asyncio.run(soak(given.minutes, given.sessions, ranks, Path(folder), console))
    show(found, console)
    if given.out is not None:
        given.out.write_text(json.dumps({"machine": machine(), **found}, indent=2) + "\n")
        console.print(f"{given.out}: written", highlight=False, soft_wrap=True)
    wrong = faults(found)
    for line in wrong:
        console.print(f"NOT FLAT: {line}", style="bold", soft_wrap=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
