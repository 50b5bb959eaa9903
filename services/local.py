"""``python -m services.local``: runs the whole suite on this machine until it is interrupted.

Starts the three workers and a gateway as processes on loopback, waits until all are ready, prints
the gateway's address, and stops all of them in every case. With ``--run COMMAND ...`` it runs a
command against the suite and ends with it; ``{gateway}`` in the command is replaced by the
gateway's HOST:PORT. ``--preset`` and ``--weights`` are settings of all three workers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flashtalk.bounds import check_above
from flashtalk.errors import FlashTalkError, InputError
from flashtalk.presets import PRESETS, TINY, WHOLE_VAE, needs_folder
from flashtalk.serving.port_file import read_port
from flashtalk.terminal import OneLineParser, guarded, say, stopping_signals

WORKERS = ("audio_encoder", "dit_worker", "vae_decoder")
GATEWAY = "gateway"
_ROOT = Path(__file__).resolve().parents[1]
_VAE_PRESET = "FLASHTALK_VAE_DECODER_PRESET"
_POLL_S = 0.05
_LOG_LINES = 20
_INTERRUPTED = 130
_RANGES = {"port": (0, 65_535), "gateways": (1, 64), "ranks": (1, 64), "vae_ranks": (1, 64)}
_LONGEST_START_S = 86_400
_TORCHRUN = ["-m", "torch.distributed.run", "--standalone"]


class LocalError(FlashTalkError):
    """A service of the local suite did not start, or ended unexpectedly."""


@dataclass(frozen=True)
class LocalConfig:
    """Configuration of the local suite.

    Args:
        environment: of the processes; may contain settings of single services.
        store: store URL of the gateway (``memory://`` or a Redis).
        port: of the gateway; 0 selects a free port.
        gateways: number of gateways (more than one needs a Redis).
        ranks: number of ranks per worker, if several; torchrun starts them.
        start_s: timeout of the start; stop_s: timeout of the stop.
        folder: for logs and port files.
    """

    environment: Mapping[str, str]
    folder: Path
    store: str = "memory://"
    port: int = 0
    gateways: int = 1
    ranks: Mapping[str, int] = field(default_factory=dict)
    start_s: float = 120.0
    stop_s: float = 15.0


@dataclass
class Service:
    """One process of the suite."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    port_file: Path
    target: str = ""

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.returncode is None

    def tail(self) -> str:
        """Returns the end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])


@dataclass
class LocalSuite:
    """The running suite.

    Args:
        config: its configuration.
        services: by name: ``gateway``, ``gateway_2``, ``dit_worker`` and so on.
    """

    config: LocalConfig
    services: dict[str, Service] = field(default_factory=dict)
    _number: int = 0

    @property
    def gateway(self) -> str:
        """Returns HOST:PORT of the first gateway."""
        return self.services[GATEWAY].target

    async def start(self, role: str, name: str, port: int, settings: Mapping[str, str]) -> Service:
        """Starts one service and waits until it is ready.

        Args:
            role: the package in ``services``.
            name: its name in the suite.
            port: 0 selects a free port.
            settings: without the prefix ``FLASHTALK_<ROLE>_``.

        Raises:
            LocalError: it ended, or was not ready before the timeout; with the end of its log.
        """
        self._number += 1
        place = self.config.folder / f"{self._number}-{name}"
        port_file, log = place.with_suffix(".port"), place.with_suffix(".log")
        port_file.unlink(missing_ok=True)  # from an earlier suite in the same folder
        prefix = f"FLASHTALK_{role.upper()}_"
        # Loopback only, and no metrics page, unless the environment sets them.
        environment = {f"{prefix}HOST": "127.0.0.1", f"{prefix}METRICS_PORT": "0"}
        environment |= self.config.environment
        given = {"PORT": str(port), "PORT_FILE": str(port_file)}
        module = ["-m", f"services.{role}"]
        if (ranks := self.config.ranks.get(role, 1)) > 1:
            module = [*_TORCHRUN, f"--nproc-per-node={ranks}", *module]
        else:  # the parent of a rank is torchrun, which stops it
            given["PARENT_PID"] = str(os.getpid())
        environment |= {prefix + key: value for key, value in {**settings, **given}.items()}
        with log.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *module,
                cwd=_ROOT,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        service = Service(name, process, log, port_file)
        self.services[name] = service
        await self._ready(service)
        return service

    async def stop(self) -> None:
        """Stops every process: SIGTERM first, gateways before workers; kills after ``stop_s``."""
        until_s = time.monotonic() + self.config.stop_s
        gateways = [s for s in self.services.values() if s.name.startswith(GATEWAY)]
        workers = [s for s in self.services.values() if s not in gateways]
        for group in (gateways, workers):
            for service in group:
                if service.alive:
                    service.process.terminate()
            waits = [asyncio.create_task(s.process.wait()) for s in group]
            if waits:
                await asyncio.wait(waits, timeout=max(0.1, until_s - time.monotonic()))
        for service in self.services.values():
            if service.alive:
                service.process.kill()
                await service.process.wait()

    async def ended(self) -> Service:
        """Waits until any of the processes ends."""
        while True:
            for service in self.services.values():
                if not service.alive:
                    return service
            await asyncio.sleep(_POLL_S)

    async def _ready(self, service: Service) -> None:
        # A service writes its port when it is ready, not earlier.
        until_s = time.monotonic() + self.config.start_s
        while (port := read_port(service.port_file)) is None:
            if not service.alive:
                code = service.process.returncode
                raise LocalError(f"{service.name} ended with exit code {code}:\n{service.tail()}")
            if time.monotonic() > until_s:
                limit = f"not ready within {self.config.start_s:g} s"
                raise LocalError(f"{service.name}: {limit}:\n{service.tail()}")
            await asyncio.sleep(_POLL_S)
        service.target = f"127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def local_suite(config: LocalConfig) -> AsyncIterator[LocalSuite]:
    """Runs the suite during the block and stops all of it afterwards."""
    suite = LocalSuite(config)
    try:
        async with asyncio.TaskGroup() as group:
            started = [group.create_task(suite.start(name, name, 0, {})) for name in WORKERS]
        targets = dict(zip(WORKERS, (task.result().target for task in started), strict=True))
        for number in range(1, config.gateways + 1):
            name = GATEWAY if number == 1 else f"{GATEWAY}_{number}"
            port = config.port if number == 1 else 0
            await suite.start(GATEWAY, name, port, gateway_settings(config.store, targets))
        yield suite
    finally:
        await suite.stop()


def gateway_settings(store: str, targets: Mapping[str, str]) -> dict[str, str]:
    """Returns the settings of a gateway for its store and workers."""
    return {
        "STORE": store,
        "AUDIO_ENCODERS": targets["audio_encoder"],
        "DIT_WORKERS": targets["dit_worker"],
        "VAE_DECODERS": targets["vae_decoder"],
    }


async def _serve(config: LocalConfig, command: Sequence[str]) -> int:
    """Runs until a signal (0), the end of a service (1), or the end of the command."""
    running = asyncio.create_task(_run(config, command))
    loop = asyncio.get_running_loop()
    for number in stopping_signals():
        # A cancellation at any point, also during the start, stops all started processes.
        loop.add_signal_handler(number, running.cancel)
    try:
        return await running
    except asyncio.CancelledError:
        return _INTERRUPTED if command else 0


async def _run(config: LocalConfig, command: Sequence[str]) -> int:
    begun_s = time.monotonic()
    async with local_suite(config) as suite:
        took_s = time.monotonic() - begun_s
        if command:
            # Standard output belongs to the command.
            print(f"suite ready in {took_s:.1f} s at {suite.gateway}", file=sys.stderr)
            return await _command(suite, command)
        for service in suite.services.values():
            say(f"{service.name:14} {service.target}  log {service.log}")
        say(f"ready in {took_s:.1f} s; gateway at {suite.gateway}; Ctrl-C stops it")
        ended = await suite.ended()
        print(f"{ended.name} ended unexpectedly:\n{ended.tail()}", file=sys.stderr)
    return 1


async def _command(suite: LocalSuite, command: Sequence[str]) -> int:
    """Runs a command against the suite; returns its exit code, or 1 if a service ended first."""
    words = [word.replace("{gateway}", suite.gateway) for word in command]
    try:
        process = await asyncio.create_subprocess_exec(*words, env=dict(suite.config.environment))
    except OSError as error:
        raise LocalError(f"{words[0]}: {error.strerror}") from error
    ending = asyncio.create_task(suite.ended())
    waiting = asyncio.create_task(process.wait())
    try:
        await asyncio.wait({ending, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        ended = ending.result()
        print(f"{ended.name} ended unexpectedly:\n{ended.tail()}", file=sys.stderr)
        return 1
    finally:
        ending.cancel()
        if process.returncode is None:
            process.terminate()
        await asyncio.wait({ending, waiting}, timeout=suite.config.stop_s)
        if process.returncode is None:
            process.kill()
            await process.wait()


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line parser."""
    parser = OneLineParser(prog="python -m services.local", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=50050, help="port of the gateway (default %(default)s)"
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help=f"preset of all workers (default: the environment's, else {TINY})",
    )
    parser.add_argument("--weights", type=Path, help="folder of the weights of all workers")
    parser.add_argument(
        "--start-s",
        type=float,
        default=LocalConfig.start_s,
        metavar="SECONDS",
        help="start timeout of a service; large weights need more (default %(default)g)",
    )
    parser.add_argument(
        "--store",
        default="memory://",
        help="session store: memory:// (default) or redis://HOST:PORT/0",
    )
    parser.add_argument(
        "--gateways",
        type=int,
        default=1,
        help="number of gateways (default 1); more than one needs Redis",
    )
    parser.add_argument(
        "--ranks",
        type=int,
        default=1,
        metavar="N",
        help="ranks of the DiT worker (default %(default)s)",
    )
    parser.add_argument(
        "--vae-ranks",
        type=int,
        default=1,
        metavar="N",
        help="ranks of the VAE decoder (default %(default)s)",
    )
    parser.add_argument("--logs", type=Path, help="folder for logs (default: a temporary folder)")
    parser.add_argument(
        "--run",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="COMMAND",
        help="run a command, then stop the suite; {gateway} in it is replaced by the address",
    )
    return parser


def worker_environment(
    given: Mapping[str, str], preset: str | None, weights: Path | None
) -> dict[str, str]:
    """Returns an environment with preset and weights of all workers; ``None`` changes nothing.

    Raises:
        InputError: the preset needs weights and a worker has none, or they are not a folder.
    """
    settings: dict[str, str] = {}
    if weights is not None:
        if not weights.is_dir():
            wanted = f"; {needs_folder(preset)}" if preset not in (None, TINY) else ""
            raise InputError("weights", weights, f"no such folder{wanted}")
        settings["WEIGHTS"] = str(weights.resolve())  # services run in another folder
    if preset is not None:
        settings["PRESET"] = preset
    environment = dict(given) | {
        f"FLASHTALK_{role.upper()}_{key}": value
        for role in WORKERS
        for key, value in settings.items()
    }
    folders = [environment.get(f"FLASHTALK_{role.upper()}_WEIGHTS") for role in WORKERS]
    if preset not in (None, TINY) and not all(folders):
        raise InputError("weights", "none given", needs_folder(preset))
    return environment


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 after a requested stop, 1 if a service ended, 2 for bad input."""
    options = build_parser().parse_args(arguments)
    for name, (least, most) in _RANGES.items():
        if not least <= getattr(options, name) <= most:
            raise InputError(name, getattr(options, name), f"{least} .. {most}")
    check_above("start_s", options.start_s, _LONGEST_START_S, "seconds")
    environment = worker_environment(os.environ, options.preset, options.weights)
    if options.vae_ranks > 1 and (preset := environment.get(_VAE_PRESET)) in WHOLE_VAE:
        raise InputError("vae_ranks", options.vae_ranks, f"1: the VAE of {preset} is not sliced")
    with contextlib.ExitStack() as stack:
        folder = options.logs or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="flashtalk-"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        config = LocalConfig(
            environment=environment,
            folder=folder,
            start_s=options.start_s,
            store=options.store,
            port=options.port,
            gateways=options.gateways,
            ranks={"dit_worker": options.ranks, "vae_decoder": options.vae_ranks},
        )
        try:
            return asyncio.run(_serve(config, options.run))
        except* LocalError as errors:
            for error in _flat(errors):
                print(f"services.local: {error}", file=sys.stderr)
    return 1


def _flat(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _flat(error)
        else:
            yield error


if __name__ == "__main__":
    sys.exit(guarded("services.local", main))
