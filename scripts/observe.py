"""``python -m scripts.observe``: runs the suite with active sessions and a Prometheus.

Prints the addresses of Prometheus, of a page with a link per dashboard panel, and of the panels of
the first row. Runs until Ctrl-C or for ``--seconds``, then stops all processes that it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flashtalk.client import ClientError, FlashTalkClient
from flashtalk.errors import InputError
from flashtalk.terminal import INTERRUPTED, OneLineParser, guarded, note, say, stopping_signals
from scripts.dashboards.links import first_links, panels_page
from scripts.prometheus_server import Prometheus, Scraping, ServerError, kept_ports, prometheus
from services.local import GATEWAY, WORKERS, LocalConfig, LocalError, local_suite

_ROOT = Path(__file__).resolve().parents[1]
_RULES = _ROOT / "helm/flashtalk/alerts/rules.yaml"
_PACKET_S = 0.1
_CUT_OFF_S = 4.0
_PAUSE_S = 1.0
_START_S = 600.0
"""Timeout of the suite's start."""

_RANGES = {"port": (0, 65_535), "sessions": (0, 64), "seconds": (0, 86_400)}


@dataclass(frozen=True)
class Watch:
    """What to do while the suite runs.

    Args:
        sessions: number of active sessions; every third turn is interrupted.
        seconds: duration; 0: until Ctrl-C.
        picture: PNG file of the main panels, written at the end; None: none.
    """

    sessions: int
    seconds: float
    picture: Path | None


async def observe(config: LocalConfig, asked: Prometheus, watch: Watch) -> int:
    """Returns 0 after the requested time, 1 if a service ended unexpectedly."""
    async with local_suite(config) as suite:
        begun_s = time.monotonic()
        for service in suite.services.values():
            say(f"{service.name:14} {service.target}  log {service.log}")
        say(f"Prometheus     {asked.url}")
        say(f"all panels     {asked.url}/consoles/flashtalk.html")
        for title, link in first_links(asked.url):
            say(f"{title}:\n  {link}")
        say(f"{watch.sessions} sessions are active; Ctrl-C stops everything")
        talks = [asyncio.create_task(_talk(suite.gateway, seed)) for seed in range(watch.sessions)]
        ending = asyncio.create_task(suite.ended())
        try:
            await asyncio.wait({ending}, timeout=watch.seconds or None)
        finally:
            for task in (*talks, ending):
                task.cancel()
            await asyncio.wait({*talks, ending})
        if not ending.cancelled():
            note(f"{ending.result().name} ended unexpectedly:\n{ending.result().tail()}")
            return 1
        if watch.picture is not None:
            await asyncio.to_thread(_draw, asked, time.monotonic() - begun_s, watch.picture)
            say(f"written: {watch.picture}")
    return 0


async def _talk(gateway: str, seed: int) -> None:
    """Streams the example speech repeatedly, in real time."""
    with wave.open(str(_ROOT / "examples/speech.wav")) as file:
        packet = round(_PACKET_S * file.getframerate())
        pcm = file.readframes(file.getnframes())
    size = 2 * packet
    packets = [pcm[at : at + size] for at in range(0, len(pcm), size)]
    async with FlashTalkClient(gateway) as client:
        for turn in itertools.count(seed):
            try:
                await _one_session(client, packets, seed, cut_off=turn % 3 == 2)
            except ClientError as error:
                note(f"a session ended: {error}")
            await asyncio.sleep(_PAUSE_S)


async def _one_session(
    client: FlashTalkClient, packets: Sequence[bytes], seed: int, *, cut_off: bool
) -> None:
    session = await client.create_session(_ROOT / "examples/portrait.png", seed=seed)
    async with client.stream(session) as stream, asyncio.TaskGroup() as group:

        async def speak() -> None:
            begun_s = time.monotonic()
            for number, packet in enumerate(packets, 1):
                await stream.push_audio(packet)
                if cut_off and number == round(_CUT_OFF_S / _PACKET_S):
                    await stream.interrupt()
                await asyncio.sleep(max(0.0, begun_s + number * _PACKET_S - time.monotonic()))
            await stream.finish()

        group.create_task(speak())
        async for _ in stream:
            pass


def _draw(asked: Prometheus, seconds: float, file: Path) -> None:
    # Imported here: it takes a while, and most runs draw nothing.
    from scripts.draw_dashboard import draw

    end_s = asked.now_s()
    draw(asked, end_s - seconds, end_s, file)


async def _until_stopped(config: LocalConfig, asked: Prometheus, watch: Watch) -> int:
    running = asyncio.create_task(observe(config, asked, watch))
    loop = asyncio.get_running_loop()
    for number in stopping_signals():
        loop.add_signal_handler(number, running.cancel)
    try:
        return await running
    except asyncio.CancelledError:
        return INTERRUPTED if watch.seconds else 0


def build_parser() -> OneLineParser:
    """Returns the command line parser."""
    parser = OneLineParser(prog="python -m scripts.observe", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=9090, help="port of Prometheus (default %(default)s)"
    )
    parser.add_argument(
        "--sessions", type=int, default=1, help="number of active sessions (default %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=0, help="seconds to run (default: until Ctrl-C)"
    )
    parser.add_argument(
        "--picture", type=Path, help="PNG file of the main panels, written at the end"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 after a requested stop, 1 if a process did not start or failed, 2 for bad input."""
    options = build_parser().parse_args(arguments)
    for name, (least, most) in _RANGES.items():
        if not least <= getattr(options, name) <= most:
            raise InputError(name, getattr(options, name), f"{least} .. {most}")
    if options.picture is not None and not options.seconds:
        raise InputError("picture", options.picture, "requires --seconds")
    watch = Watch(options.sessions, options.seconds, options.picture)
    services = (*WORKERS, GATEWAY)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flashtalk-")))
        *pages, spare = stack.enter_context(kept_ports(len(services) + 1))
        ports = dict(zip(services, pages, strict=True))
        environment = dict(os.environ)
        environment |= {f"FLASHTALK_{n.upper()}_METRICS_PORT": str(p) for n, p in ports.items()}
        targets = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        panels_page(folder / "consoles/flashtalk.html")
        try:
            asked = stack.enter_context(
                prometheus(folder, options.port or spare, Scraping(targets, rules=[_RULES]))
            )
            config = LocalConfig(environment, folder, start_s=_START_S)
            return asyncio.run(_until_stopped(config, asked, watch))
        except* (LocalError, ServerError) as errors:
            for error in errors.exceptions:
                note(f"scripts.observe: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(guarded("scripts.observe", main))
