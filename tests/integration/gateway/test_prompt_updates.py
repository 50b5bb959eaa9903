"""New prompts in mid-session over real connections: bits, borders, answers, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from flashtalk.serving.errors import Reason, field_of
from flashtalk.v1 import stream_pb2
from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.prompting import (
    BORDER,
    CHUNK,
    SECOND,
    VOICE,
    Updated,
    answers,
    plain,
    ready,
    switched,
    talking,
    update,
)
from tests.integration.gateway.suite import (
    creation,
    finish,
    held_at,
    run,
    send,
    small_suite,
    watch,
    whole,
)
from tests.integration.gateway.watcher import Watcher

__all__ = ["plain", "switched"]  # fixtures


def test_a_prompt_holds_from_the_next_border_and_not_in_the_chunk_that_has_begun(
    plain: list[bytes], switched: list[bytes]
) -> None:
    async def scenario() -> None:
        async with small_suite() as (running, servers):
            gate = held_at(servers, "audio", 2)
            call, _ = await talking(running)
            await send(call, VOICE, 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 56)
            await gate.reached.wait()
            await update(call, "a")
            await ready(running)
            gate.open()
            await finish(call)
            await watch(call, seen)
            assert answers(seen) == [("a", Updated.OUTCOME_APPLIED, BORDER)]
            assert seen.video == switched
            differs = [a != b for a, b in zip(seen.video, plain, strict=True)]
            assert differs == [index >= BORDER for index in range(len(VOICE) // 640)]

    run(scenario)


def test_before_the_first_chunk_it_is_as_if_the_session_were_created_with_it() -> None:
    async def scenario() -> None:
        async with small_suite() as (running, _):
            call, _ = await talking(running)
            await update(call, "a")
            seen = await watch(call, Watcher(), lambda w: bool(w.updated))
            assert answers(seen) == [("a", Updated.OUTCOME_APPLIED, 0)], "without any speech"
            await send(call, VOICE, 0)
            await finish(call)
            await watch(call, seen)
            created = await whole(running.stub, creation(prompt=SECOND), VOICE)
            assert seen.video == created.video

    run(scenario)


def test_an_empty_prompt_takes_the_models_own(plain: list[bytes]) -> None:
    async def scenario() -> None:
        async with small_suite() as (running, _):
            call, _ = await talking(running, prompt=SECOND)
            await update(call, "a", "")
            seen = await watch(call, Watcher(), lambda w: bool(w.updated))
            await send(call, VOICE, 0)
            await finish(call)
            assert (await watch(call, seen)).video == plain

    run(scenario)


def test_the_last_of_several_wins_and_each_is_answered_once(switched: list[bytes]) -> None:
    async def scenario() -> None:
        async with small_suite() as (running, servers):
            gate = held_at(servers, "audio", 2)
            call, _ = await talking(running)
            await send(call, VOICE, 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 56)
            for name in ("a", "b", "a", "b", "c", "c"):
                await update(call, name, SECOND if name == "c" else f"prompt {name}")
            await watch(call, seen, lambda w: len(w.updated) >= 2)
            await ready(running)
            gate.open()
            await watch(call, seen, lambda w: w.next_frame == 168)
            # What is known is answered again, whatever it says, and changes nothing.
            for name in ("a", "c"):
                await update(call, name, "another text")
            await finish(call)
            await watch(call, seen)
            a, b, c = (
                ("a", Updated.OUTCOME_SUPERSEDED, 0),
                ("b", Updated.OUTCOME_SUPERSEDED, 0),
                ("c", Updated.OUTCOME_APPLIED, BORDER),
            )
            # The second "a" came when "b" had replaced it: it is answered as before.
            assert answers(seen) == [a, a, b, c, a, c]
            assert seen.video == switched

    run(scenario)


async def refusal(call: Any, seen: Watcher, prompt: str) -> stream_pb2.PromptUpdated:
    before = len(seen.updated)
    await update(call, f"update {before}", prompt)
    await watch(call, seen, lambda w: len(w.updated) > before)
    return seen.updated[-1]


def test_a_bad_prompt_is_refused_and_the_stream_goes_on(plain: list[bytes]) -> None:
    async def scenario() -> None:
        async with small_suite() as (running, servers):
            gate = held_at(servers, "audio", 1)
            call, _ = await talking(running)
            await send(call, VOICE, 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 28)
            refused = await refusal(call, seen, "x" * 2_001)
            assert refused.outcome == Updated.OUTCOME_REFUSED
            assert refused.reason == Reason.INVALID_FIELD
            assert "2001 characters" in refused.message
            assert "2000" in refused.message
            gate.open()
            await finish(call)
            assert (await watch(call, seen)).video == plain

    run(scenario)


def test_a_refused_update_leaves_an_earlier_one_waiting(switched: list[bytes]) -> None:
    async def scenario() -> None:
        async with small_suite() as (running, servers):
            gate = held_at(servers, "audio", 2)
            call, _ = await talking(running)
            await send(call, VOICE, 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 56)
            await update(call, "a")
            await refusal(call, seen, "x" * 2_001)
            await ready(running)
            gate.open()
            await finish(call)
            await watch(call, seen)
            assert answers(seen)[-1] == ("a", Updated.OUTCOME_APPLIED, BORDER)
            assert seen.video == switched

    run(scenario)


def test_weights_without_text_take_no_prompt(plain: list[bytes]) -> None:
    async def scenario() -> None:
        async with small_suite(StandIn(accepts_prompt=False)) as (running, _):
            call, _ = await talking(running)
            refused = await refusal(call, seen := Watcher(), SECOND)
            assert (refused.outcome, refused.reason) == (
                Updated.OUTCOME_REFUSED,
                Reason.NO_PROMPT,
            )
            assert "no prompt" in refused.message
            await send(call, VOICE, 0)
            await finish(call)
            assert (await watch(call, seen)).video == plain
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await running.stub.CreateSession(creation(prompt=SECOND))
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert field_of(error.value) == "prompt"

    run(scenario)


async def hang(prompt: str) -> None:
    if prompt == SECOND:
        await asyncio.Event().wait()


async def break_down(prompt: str) -> None:
    if prompt == SECOND:
        raise RuntimeError("a secret of the worker")


@pytest.mark.parametrize(
    ("fault", "reason"), [(hang, Reason.NO_WORKER), (break_down, Reason.NO_WORKER)]
)
def test_a_prompt_that_cannot_be_encoded_leaves_the_old_one(
    fault: Callable[[str], Any], reason: Reason, plain: list[bytes]
) -> None:
    """Chunks go on meanwhile, and the client is told."""

    async def scenario() -> None:
        async with small_suite(prompt_timeout_s=1.0) as (running, servers):
            servers[0].workers.at_prompt = fault
            call, _ = await talking(running)
            await send(call, VOICE[:CHUNK], 0)
            await update(call, "a")
            seen = await watch(call, Watcher(), lambda w: bool(w.updated))
            assert seen.updated[0].outcome == Updated.OUTCOME_FAILED
            assert seen.updated[0].reason == reason
            assert "secret" not in seen.updated[0].message
            await send(call, VOICE[CHUNK:], CHUNK)
            await finish(call)
            assert (await watch(call, seen)).video == plain

    run(scenario)


def test_chunks_go_on_while_a_prompt_is_encoded_and_the_end_answers_it(plain: list[bytes]) -> None:
    async def scenario() -> None:
        async with small_suite() as (running, servers):
            servers[0].workers.at_prompt = hang
            call, _ = await talking(running)
            await update(call, "a")
            await send(call, VOICE, 0)
            await finish(call)
            seen = await watch(call, Watcher())
            assert seen.video == plain
            assert [u.outcome for u in seen.updated] == [Updated.OUTCOME_FAILED]
            assert seen.updated[0].reason == Reason.SESSION_GONE

    run(scenario)
