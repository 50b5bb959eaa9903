"""Real processes are killed in the middle of a chunk: the video is that of the undisturbed run."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from flashtalk.arrays import Rgb
from flashtalk.engine import Pipeline
from flashtalk.streaming import Pcm
from services.local import LocalSuite
from tests.e2e.processes import (
    KeptSuite,
    disturbed,
    expected_frames,
    face,
    kept_suite,
    kill,
    kill_and_restart,
    nothing,
    patient_client,
    pixels,
    png,
    restart,
    run,
    speech,
    suite,
)
from tests.fakes.real_redis import RedisServer, redis_server
from tests.patience import patient
from tests.tolerances import assert_frames

PORTRAIT = face()
VOICE = speech(7.3)


@pytest.fixture(scope="module")
def kept(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptSuite]:
    """One gateway, one worker of each kind."""
    with kept_suite(weights, tmp_path_factory.mktemp("suite")) as made:
        yield made


async def alone(running: LocalSuite, portrait_HWC: Rgb, pcm_S: Pcm, seed: int) -> list[bytes]:
    """The frames of a session that nothing happens to."""
    async with patient_client(running) as client:
        return await disturbed(client, png(portrait_HWC), pcm_S, 0, nothing, seed=seed)


@pytest.fixture(scope="module")
def expected(kept: KeptSuite) -> list[bytes]:
    """Of the suite itself: every other run makes the same calls, so it has the same bits."""
    return kept.run(lambda running: alone(running, PORTRAIT, VOICE, 7))


def test_sessions_that_share_a_suite_are_each_as_if_alone(
    kept: KeptSuite, pipeline: Pipeline
) -> None:
    people = [face(seed) for seed in range(3)]
    voices = [speech(5.0 + seed, seed) for seed in range(3)]

    async def scenario(running: LocalSuite) -> list[list[bytes]]:
        async with patient_client(running) as client:
            return await asyncio.gather(
                *(
                    disturbed(client, png(person), voice, 0, nothing, seed=seed)
                    for seed, (person, voice) in enumerate(zip(people, voices, strict=True))
                )
            )

    for seed, got in enumerate(kept.run(scenario)):
        # The speech of several sessions may be encoded together, and a chunk decoded in two parts.
        engine = expected_frames(pipeline, people[seed], voices[seed], seed)
        assert_frames(pixels(got), pixels(engine))


def test_nobody_is_killed(kept: KeptSuite, expected: list[bytes], pipeline: Pipeline) -> None:
    """The frames of the engine, which decodes whole chunks; and the same bits again."""
    assert kept.run(lambda running: alone(running, PORTRAIT, VOICE, 7)) == expected
    engine = expected_frames(pipeline, PORTRAIT, VOICE, seed=7)
    assert_frames(pixels(expected), pixels(engine))


@pytest.mark.parametrize("name", ["dit_worker", "vae_decoder", "audio_encoder"])
def test_a_worker_is_killed(kept: KeptSuite, expected: list[bytes], name: str) -> None:
    """Frames as undisturbed, through its death in the first chunk and in a later one."""

    async def scenario(running: LocalSuite) -> None:
        gateway = running.services["gateway"].process
        async with patient_client(running) as client:
            for frame in (1, 40):
                got = await disturbed(
                    client, png(PORTRAIT), VOICE, frame, lambda: kill_and_restart(running, name)
                )
                assert got == expected, frame
        assert running.services["gateway"].process is gateway
        assert gateway.returncode is None

    kept.run(scenario)


def test_gateways_and_redis_are_killed(
    weights: Path, expected: list[bytes], tmp_path: Path
) -> None:
    async def scenario() -> None:
        folder = tmp_path / "redis"
        folder.mkdir()
        with redis_server(folder) as redis:
            async with suite(weights, tmp_path, store=redis.url, gateways=2) as running:
                for frame in (0, 40, 140):
                    # A new client begins with the first gateway, and ends with the second.
                    async with patient_client(running) as client:
                        got = await disturbed(
                            client,
                            png(PORTRAIT),
                            VOICE,
                            frame,
                            lambda: kill(running, "gateway"),
                            reconnects=1,
                        )
                    assert got == expected, frame
                    await restart(running, "gateway")

                async with patient_client(running) as client:
                    for frame in (0, 40):
                        got = await disturbed(
                            client, png(PORTRAIT), VOICE, frame, lambda: missed_and_restarted(redis)
                        )
                        assert got == expected, frame

                async def drain() -> None:
                    process = running.services["gateway"].process
                    process.send_signal(signal.SIGTERM)
                    assert await process.wait() == 0

                async with patient_client(running) as client:
                    got = await disturbed(client, png(PORTRAIT), VOICE, 40, drain, reconnects=1)
                assert got == expected

    run(scenario)


async def missed_and_restarted(redis: RedisServer) -> None:
    """Redis is killed, and started again once a gateway has looked for it in vain."""
    redis.kill()
    await asyncio.to_thread(_turn_one_away, redis.port)
    await asyncio.to_thread(redis.start)


def _turn_one_away(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as door:
        door.settimeout(patient(120))
        visitor, _ = door.accept()
        visitor.close()
