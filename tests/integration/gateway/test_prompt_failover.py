"""A new prompt through faults and interruptions: the same bits."""

from __future__ import annotations

import asyncio

import pytest

from flashtalk.v1 import stream_pb2
from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.prompting import (
    BORDER,
    CHUNK,
    SECOND,
    VOICE,
    Updated,
    answers,
    continued_with,
    plain,
    ready,
    switched,
    talking,
    update,
)
from tests.integration.gateway.suite import (
    Gateway,
    StandInServer,
    finish,
    gateway,
    held_at,
    memory_store,
    opened,
    run,
    send,
    small_suite,
    speech,
    watch,
)
from tests.integration.gateway.watcher import Watcher
from tests.patience import until_true

__all__ = ["plain", "switched"]  # fixtures


@pytest.mark.parametrize("stage", ["audio", "denoise", "half", "motion"])
def test_a_worker_dies_in_the_chunk_with_the_new_prompt(stage: str, switched: list[bytes]) -> None:
    async def scenario() -> None:
        async with small_suite(workers=2) as (running, servers):
            first = held_at(servers, "audio", 2)
            call, _ = await talking(running)
            await send(call, VOICE, 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 56)
            await update(call, "a")
            await ready(running)
            gate = held_at(servers, stage, 3)
            first.open()
            watching = asyncio.create_task(watch(call, seen))
            await gate.reached.wait()
            await next(each for each in servers if each.workers is gate.who).kill()
            gate.open()
            await finish(call)
            await watching
            assert answers(seen) == [("a", Updated.OUTCOME_APPLIED, BORDER)]
            assert seen.video == switched

    run(scenario)


@pytest.mark.parametrize(
    "held",
    [
        # The begun chunk was planned with the old prompt: it is made again with that one.
        ("half", 2),
        # The state with the new prompt is stored, and the chunk that was planned with it.
        ("audio", 3),
        ("half", 3),
        ("motion", 3),
        ("half", 4),
    ],
)
def test_another_gateway_goes_on_with_the_same_bits(
    held: tuple[str, int], switched: list[bytes]
) -> None:
    """The client has not received the answer, so it sends the update again."""

    async def scenario() -> None:
        worker = await StandInServer.start(StandIn())
        store = memory_store()
        try:
            async with gateway(worker.target, store, owner="one") as first:
                earlier = held_at([worker], "audio", 2)
                call, name = await talking(first)
                await send(call, VOICE, 0)
                seen = await watch(call, Watcher(), lambda w: w.next_frame == 56)
                gate = earlier
                if held[1] > 2:
                    await update(call, "a")
                    await ready(first)
                gate = held_at([worker], *held)
                earlier.open()
                await gate.reached.wait()
                await first.kill()
                async with gateway(worker.target, store, owner="two") as second:
                    call, opening = await opened(second.stub, name, resume=56)
                    assert opening.next_frame == 56
                    await update(call, "a")
                    if held[1] == 2:
                        await ready(second)
                    gate.open()
                    await send(call, VOICE[opening.input_samples :], opening.input_samples)
                    await finish(call)
                    await watch(call, seen)
            assert answers(seen) == [("a", Updated.OUTCOME_APPLIED, BORDER)]
            assert seen.video == switched
        finally:
            await worker.kill()

    run(scenario)


def test_superseded_updates_stay_superseded_for_a_client_that_comes_back(
    switched: list[bytes],
) -> None:
    async def scenario() -> None:
        async with small_suite() as (running, servers):
            gate = held_at(servers, "audio", 2)
            call, name = await talking(running)
            await send(call, VOICE, 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 56)
            await update(call, "a", "prompt a")
            await update(call, "b")
            await ready(running)
            gate.open()
            await until_true(lambda: committed(running, name, 4))
            call.cancel()
            call, opening = await opened(running.stub, name, resume=56)
            await update(call, "a", "prompt a")
            await update(call, "b")
            await send(call, VOICE[opening.input_samples :], opening.input_samples)
            await finish(call)
            await watch(call, seen)
            assert answers(seen) == [
                ("a", Updated.OUTCOME_SUPERSEDED, 0),
                ("b", Updated.OUTCOME_APPLIED, BORDER),
            ]
            assert seen.video == switched

    run(scenario)


async def committed(running: Gateway, name: str, chunks: int) -> bool:
    return (await running.store.load(name, light=True)).state.position.chunk_index >= chunks


@pytest.mark.parametrize("update_first", [True, False])
def test_an_interruption_together_with_an_update(update_first: bool) -> None:
    """The cut is the border: what follows it has the new prompt, and the update is not dropped."""
    second = speech(2 * CHUNK, 9)

    async def scenario() -> None:
        async with small_suite() as (running, servers):
            gate = held_at(servers, "audio", 2)
            call, name = await talking(running)
            position = await send(call, VOICE, 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 56)
            stop = stream_pb2.Interrupt(interrupt_id="stop", played_frames=40)
            if update_first:
                await update(call, "a")
                await ready(running)
            await call.write(stream_pb2.StreamRequest(interrupt=stop))
            if not update_first:
                await watch(call, seen, lambda w: bool(w.interrupted))
                await update(call, "a")
            await watch(call, seen, lambda w: bool(w.interrupted) and bool(w.updated))
            gate.open()
            await send(call, second, position)
            await finish(call)
            await watch(call, seen)
            assert answers(seen) == [("a", Updated.OUTCOME_APPLIED, 40)]

            # The same cut, and only then a stored state with the other conditioning.
            gate = held_at(servers, "audio", 2)
            call, name = await talking(running)
            position = await send(call, VOICE, 0)
            other = await watch(call, Watcher(), lambda w: w.next_frame == 56)
            await call.write(stream_pb2.StreamRequest(interrupt=stop))
            await watch(call, other, lambda w: bool(w.interrupted))
            call.cancel()
            await continued_with(running, name, SECOND)
            gate.open()
            call, opening = await opened(running.stub, name, resume=40)
            assert opening.input_samples == position
            await send(call, second, position)
            await finish(call)
            await watch(call, other)
            assert seen.video == other.video

    run(scenario)


def test_after_a_cut_before_its_border_the_prompt_holds_from_the_cut(plain: list[bytes]) -> None:
    async def scenario() -> None:
        async with small_suite() as (running, servers):
            gate = held_at(servers, "audio", 2)
            call, _ = await talking(running)
            position = await send(call, VOICE, 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 56)
            await update(call, "a")
            await ready(running)
            later = held_at(servers, "audio", 4)
            gate.open()
            await watch(call, seen, lambda w: w.next_frame == 112)
            await later.reached.wait()
            stop = stream_pb2.Interrupt(interrupt_id="stop", played_frames=60)
            await call.write(stream_pb2.StreamRequest(interrupt=stop))
            await watch(call, seen, lambda w: bool(w.interrupted))
            later.open()
            await send(call, VOICE[: 2 * CHUNK], position)
            await finish(call)
            await watch(call, seen)
            assert answers(seen) == [("a", Updated.OUTCOME_APPLIED, BORDER)]
            assert seen.video[:60] == plain[:60]
            assert len(seen.video) == 60 + 56

    run(scenario)
