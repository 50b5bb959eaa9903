"""Containers of one builder, docker or podman: started locked down, measured, ended, removed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.patience import patient, wait_until

LOCKED = [
    "--read-only",
    "--cap-drop",
    "all",
    "--security-opt",
    "no-new-privileges",
    "--tmpfs",
    "/tmp",
    "--user",
    "10001:10001",
]
"""As a cluster's restricted policy runs them; only /tmp can be written to."""


def builder() -> list[str] | None:
    """The command of BUILDER, or of what is installed."""
    given = os.environ.get("BUILDER", "")  # noqa: TID251 - what the Makefile hands on
    if given:
        return shlex.split(given)
    return next(([name] for name in ("docker", "podman") if shutil.which(name)), None)


@dataclass(frozen=True)
class Container:
    """One that runs.

    Args:
        name: its own.
        address: on the private network.
        begun_s: when it was started, on the monotonic clock.
    """

    name: str
    address: str
    begun_s: float


@dataclass(frozen=True)
class Engine:
    """A builder that also runs what it has built.

    Args:
        command: its program and options.
        network: private, of these containers only.
    """

    command: tuple[str, ...]
    network: str

    def call(self, *words: str, limit_s: float = 120.0) -> str:
        """Standard output of a command. Raises AssertionError with its errors."""
        done = subprocess.run(
            [*self.command, *words],
            capture_output=True,
            text=True,
            timeout=patient(limit_s),
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def inspect(self, kind: str, name: str) -> Any:
        """What the builder knows of an image or a container."""
        return json.loads(self.call("inspect", "--type", kind, name))[0]

    def start(self, image: str, name: str, settings: Mapping[str, str]) -> Container:
        """A container in the background, locked down."""
        given = [word for pair in settings.items() for word in ("--env", "=".join(pair))]
        begun_s = time.monotonic()
        self.call(
            "run", "--detach", "--name", name, "--network", self.network, *LOCKED, *given, image
        )
        networks = self.inspect("container", name)["NetworkSettings"]["Networks"]
        return Container(name, networks[self.network]["IPAddress"], begun_s)

    def stop(self, name: str) -> int:
        """SIGTERM; the exit code."""
        self.call("kill", "--signal", "TERM", name)
        return int(self.call("wait", name))

    def logs(self, name: str) -> str:
        """What a container has said."""
        done = subprocess.run(
            [*self.command, "logs", name], capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def await_ready(self, container: Container) -> float:
        """Seconds from its start until it says that it is ready."""

        def decided() -> bool:
            state = self.inspect("container", container.name)["State"]
            assert state["Running"], self.logs(container.name)
            return '"message": "ready"' in self.logs(container.name)

        wait_until(decided, 180, f"{container.name} is not ready")
        return time.monotonic() - container.begun_s


@contextmanager
def engine(command: list[str]) -> Iterator[Engine]:
    """With a private network; whatever was started there is removed."""
    network = f"flashtalk-images-{os.getpid()}"
    made = Engine(tuple(command), network)
    made.call("network", "create", network)
    try:
        yield made
    finally:
        names = made.call("ps", "--all", "--quiet", "--filter", f"network={network}").split()
        if names:
            made.call("rm", "--force", *names)
        made.call("network", "rm", network)
