"""Real processes are killed in the middle of a chunk: the video is that of the undisturbed run."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from flashtalk.client import FlashTalkClient
from flashtalk.engine import Pipeline
from tests.e2e.processes import (
    disturbed,
    expected_frames,
    face,
    kill_and_restart,
    png,
    run,
    speech,
    suite,
    targets,
)
from tests.fakes.real_redis import redis_server

PORTRAIT = face()
VOICE = speech(7.3)


async def nothing() -> None:
    return


@pytest.fixture(scope="module")
def expected(pipeline: Pipeline) -> list[bytes]:
    return expected_frames(pipeline, PORTRAIT, VOICE, seed=7)


def test_workers_are_killed_one_after_the_other(
    weights: Path, expected: list[bytes], tmp_path: Path
) -> None:
    """Frame-identical to the engine, undisturbed and through the death of every worker."""

    async def scenario() -> None:
        async with (
            suite(weights, tmp_path) as running,
            FlashTalkClient(targets(running)) as client,
        ):
            assert await disturbed(client, png(PORTRAIT), VOICE, 0, nothing) == expected
            for name in ("dit_worker", "vae_decoder", "audio_encoder"):
                for frame in (1, 40):
                    got = await disturbed(
                        client,
                        png(PORTRAIT),
                        VOICE,
                        frame,
                        lambda name=name: kill_and_restart(running, name),  # type: ignore[misc]
                    )
                    assert got == expected, (name, frame)
            assert running.services["gateway"].alive

    run(scenario)


def test_gateways_and_redis_are_killed(
    weights: Path, expected: list[bytes], tmp_path: Path
) -> None:
    async def scenario() -> None:
        folder = tmp_path / "redis"
        folder.mkdir()
        with redis_server(folder) as redis:
            async with (
                suite(weights, tmp_path, store=redis.url, gateways=2) as running,
                FlashTalkClient(targets(running)) as client,
            ):
                for frame in (0, 40, 140):
                    got = await disturbed(
                        client,
                        png(PORTRAIT),
                        VOICE,
                        frame,
                        lambda: kill_and_restart(running, "gateway", 1.0),
                    )
                    assert got == expected, frame

                async def restart_redis() -> None:
                    redis.kill()
                    await asyncio.sleep(1.0)
                    await asyncio.to_thread(redis.start)

                for frame in (0, 40):
                    got = await disturbed(client, png(PORTRAIT), VOICE, frame, restart_redis)
                    assert got == expected, frame

                async def drain() -> None:
                    process = running.services["gateway"].process
                    process.send_signal(signal.SIGTERM)
                    assert await process.wait() == 0

                got = await disturbed(client, png(PORTRAIT), VOICE, 40, drain)
                assert got == expected

    run(scenario)


def test_sessions_that_share_a_suite_are_each_as_if_alone(
    weights: Path, pipeline: Pipeline, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with (
            suite(weights, tmp_path) as running,
            FlashTalkClient(targets(running)) as client,
        ):
            people = [face(seed) for seed in range(3)]
            voices = [speech(5.0 + seed, seed) for seed in range(3)]
            together = await asyncio.gather(
                *(
                    disturbed(client, png(person), voice, 0, nothing, seed=seed)
                    for seed, (person, voice) in enumerate(zip(people, voices, strict=True))
                )
            )
            for seed, got in enumerate(together):
                assert got == expected_frames(pipeline, people[seed], voices[seed], seed)

    run(scenario)
