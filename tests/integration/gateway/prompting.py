"""Sessions that get a new prompt in the middle, and the frames that they must have."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flashtalk.v1 import stream_pb2
from tests.integration.gateway.suite import (
    SPEC,
    Gateway,
    creation,
    finish,
    opened,
    run,
    send,
    small_suite,
    speech,
    undisturbed,
    watch,
)
from tests.integration.gateway.watcher import Watcher
from tests.patience import until, until_true

CHUNK = SPEC.new_samples
VOICE = speech(6 * CHUNK)
BORDER = 84
SECOND = "somebody sings in the rain"
Updated = stream_pb2.PromptUpdated


@pytest.fixture(scope="module")
def plain() -> list[bytes]:
    """The frames of a session that keeps its prompt."""
    return undisturbed(VOICE)


async def continued_with(running: Gateway, name: str, prompt: str) -> None:
    """Gives a session without a stream the conditioning of another one, created with a prompt."""
    store = running.store

    async def released() -> bool:
        return not (await store.load(name)).owner

    await until_true(released)
    made = await running.stub.CreateSession(creation(prompt=prompt))
    asset = await store.asset((await store.load(made.session.session_id)).setting.asset)
    record = await store.claim(name, "the test", replace=False)
    assert record.state.plan is None
    state = dataclasses.replace(record.state, scene=asset.digest)
    await store.commit(name, record.fence, state, asset)
    await store.release(name, record.fence)


@pytest.fixture(scope="module")
def switched() -> list[bytes]:
    """The frames of a session whose stored state is given another conditioning at frame 84."""
    frames: list[bytes] = []

    async def scenario() -> None:
        async with small_suite() as (running, _):
            name = (await running.stub.CreateSession(creation())).session.session_id
            call, _ = await opened(running.stub, name)
            used = 3 * CHUNK
            await send(call, VOICE[:used], 0)
            seen = await watch(call, Watcher(), lambda w: len(w.chunks) == 3)
            call.cancel()
            await continued_with(running, name, SECOND)
            call, _ = await opened(running.stub, name, resume=BORDER)
            await send(call, VOICE[used:], used)
            await finish(call)
            frames.extend((await watch(call, seen)).video)

    run(scenario)
    return frames


async def update(call: Any, update_id: str, prompt: str = SECOND) -> None:
    message = stream_pb2.PromptUpdate(update_id=update_id, prompt=prompt)
    await call.write(stream_pb2.StreamRequest(prompt_update=message))


async def ready(running: Gateway) -> None:
    """Waits until a prompt is encoded and waits for the next chunk."""
    await until(lambda: any(stream.prompts.ready for stream in running.host._open))


async def talking(running: Gateway, **fields: Any) -> tuple[Any, str]:
    name = (await running.stub.CreateSession(creation(**fields))).session.session_id
    call, _ = await opened(running.stub, name)
    return call, name


def answers(seen: Watcher) -> list[tuple[str, int, int]]:
    return [(u.update_id, u.outcome, u.first_frame) for u in seen.updated]
