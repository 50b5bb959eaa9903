"""helm and kubectl against one cluster, and streams that go on while something happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flashtalk.client import FlashTalkClient, SessionStream
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from tests.patience import patient

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/flashtalk"
BIN = Path(sys.executable).parent
HZ, CHUNK_SAMPLES = 16_000, 17_920
SEED = 7
Pcm16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Cluster:
    """Where things are installed.

    Args:
        kubeconfig: of the cluster.
        namespace: of the release.
        values: that every installation here needs, as words for helm.
    """

    kubeconfig: Path
    namespace: str
    values: tuple[str, ...]

    def run(self, program: str, *words: str, limit_s: float = 300.0) -> str:
        """Standard output of helm or kubectl. Raises AssertionError with its errors."""
        done = self.tried(program, *words, limit_s=limit_s)
        assert done.returncode == 0, f"{program} {words}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def tried(
        self, program: str, *words: str, limit_s: float = 300.0, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The same, whatever it ends with; ``given`` is its standard input."""
        return subprocess.run(
            [str(BIN / program), f"--namespace={self.namespace}", *words],
            env=self._environment(),
            text=True,
            capture_output=True,
            timeout=patient(limit_s),
            check=False,
            input=given,
        )

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}  # noqa: TID251

    def apply(self, manifest: str) -> None:
        """One document."""
        done = self.tried("kubectl", "apply", "--filename=-", given=manifest)
        assert done.returncode == 0, done.stderr

    def pods(self, component: str) -> list[str]:
        """Names of those of a kind that are not on their way out."""
        selector = f"--selector=app.kubernetes.io/component={component}"
        items = [i["metadata"] for i in self.get("pods", selector)["items"]]
        return [found["name"] for found in items if "deletionTimestamp" not in found]

    def evicted(self, pod: str) -> subprocess.CompletedProcess[str]:
        """Asks for it as a drain does; refused where a disruption budget does not let it go."""
        kinds = self.run("kubectl", "api-versions").split()
        version = "policy/v1" if "policy/v1" in kinds else "policy/v1beta1"
        about = {"name": pod, "namespace": self.namespace}
        asked = json.dumps({"apiVersion": version, "kind": "Eviction", "metadata": about})
        place = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction"
        return self.tried("kubectl", "create", f"--raw={place}", "--filename=-", given=asked)

    @contextlib.contextmanager
    def forwarded(self, what: str, port: int) -> Iterator[int]:
        """A port of this machine that leads there."""
        words = [f"--namespace={self.namespace}", "port-forward", what, f":{port}"]
        forwarding = subprocess.Popen(
            [str(BIN / "kubectl"), *words],
            env=self._environment(),
            text=True,
            stdout=subprocess.PIPE,
        )
        try:
            assert forwarding.stdout is not None
            yield int(forwarding.stdout.readline().split(":")[1].split()[0])
        finally:
            forwarding.terminate()
            forwarding.wait()
            if forwarding.stdout is not None:
                forwarding.stdout.close()

    async def change(self, program: str, *words: str) -> str:
        """As ``run``, while streams go on."""
        return await asyncio.to_thread(self.run, program, *words)

    def get(self, *words: str) -> Any:
        """What kubectl get knows, as JSON."""
        return json.loads(self.run("kubectl", "get", *words, "--output=json"))

    def gateway(self) -> str:
        """HOST:PORT of the gateway's Service; pods and their node reach it."""
        spec = self.get("service", "ft-flashtalk-gateway")["spec"]
        return f"{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def install(self, *words: str) -> None:
        """The release, ready."""
        self.run(
            "helm",
            "install",
            "ft",
            str(CHART),
            *self.values,
            *words,
            "--wait",
            "--timeout=5m",
            limit_s=400,
        )


def deployments() -> tuple[str, ...]:
    """By name."""
    kinds = ("gateway", "audio-encoder", "dit-worker", "vae-decoder")
    return tuple(f"ft-flashtalk-{kind}" for kind in kinds)


@dataclass
class Talk:
    """A stream that speaks as long as it is wanted to.

    Attributes:
        spoken: chunks of speech that were sent.
        frames: video bytes of every frame, in order; lost and doubled ones are an error.
    """

    stream: SessionStream
    spoken: int = 0
    frames: list[bytes] = field(default_factory=list)

    async def speak(self, chunks: int = 1) -> None:
        """So many chunks more, until their frames are there."""
        for _ in range(chunks):
            await self.stream.push_audio(speech(self.spoken))
            self.spoken += 1
            async with asyncio.timeout(patient(120)):
                while len(self.frames) < 28 * (self.spoken - 1):
                    await self.read()

    async def read(self) -> bool:
        """The next event; False at the end."""
        event = await anext(self.stream, None)
        if isinstance(event, stream_pb2.Frame):
            assert event.frame_index == len(self.frames), "a frame was lost or came twice"
            self.frames.append(event.video + event.pcm)
        return event is not None


def speech(number: int) -> Pcm16:
    """A chunk of noise, the same for the same number."""
    noise = np.random.default_rng(number).normal(0, 3_000, CHUNK_SAMPLES)
    return noise.clip(-32_768, 32_767).astype(np.int16)


@contextlib.asynccontextmanager
async def talk(gateway: str, **options: Any) -> AsyncIterator[Talk]:
    """A session of the example portrait; it ends well, or the test fails."""
    async with FlashTalkClient(gateway, patience_s=patient(180), **options) as client:
        session = await client.create_session(
            ROOT / "examples/portrait.png",
            seed=SEED,
            idle_policy=pb.IDLE_POLICY_WAIT,
            pacing=pb.PACING_UNLIMITED,
            wait_for_slot=True,
        )
        async with client.stream(session) as stream:
            talking = Talk(stream)
            yield talking
            await stream.finish()
            async with asyncio.timeout(patient(240)):
                while await talking.read():
                    pass


async def disturbed(gateway: str, happens: Sequence[Callable[[], Awaitable[Any]]]) -> Talk:
    """A stream that speaks on while one thing after the other happens to the cluster."""
    async with talk(gateway) as talking:
        await talking.speak(2)
        for change in happens:
            task = asyncio.ensure_future(change())
            while not task.done():
                await talking.speak()
            await task
            await talking.speak(2)
    return talking


async def undisturbed(gateway: str, chunks: int) -> list[bytes]:
    """The frames of the same speech when nothing happens."""
    async with talk(gateway) as talking:
        await talking.speak(chunks)
    return talking.frames
