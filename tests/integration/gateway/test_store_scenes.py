"""The asset of a new prompt is kept with the state that names it: in both stores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from services.gateway.store.records import PromptOutcome, SessionAsset, SessionState
from services.gateway.store.session_store import FenceLost, SessionGone, SessionStore
from tests.integration.gateway.records import array, asset, plan, same, setting, state
from tests.integration.gateway.test_store import LIMITS, Age, Test, TimedTest, run, run_timed

__all__ = ["run", "run_timed"]  # fixtures


def scene(digit: str) -> SessionAsset:
    return dataclasses.replace(asset(digit * 64), conditioning=digit.encode(), portrait_rgb=b"rgb")


def with_scene(chunks: int, made: SessionAsset) -> SessionState:
    outcomes = tuple(PromptOutcome(f"update {n}", 1 + n % 2, 28 * n) for n in range(chunks))
    return dataclasses.replace(state(chunks), scene=made.digest, prompt_outcomes=outcomes)


def test_a_taker_finds_the_prompt_with_its_asset(run: Callable[[Test], None]) -> None:
    async def body(store: SessionStore) -> None:
        given = setting()
        await store.create(given, state(), asset())
        record = await store.claim(given.session_id, "one", replace=False)
        assert record.state.scene == ""
        for chunks, made in ((1, scene("d")), (2, scene("e"))):
            await store.commit(given.session_id, record.fence, with_scene(chunks, made), made)
            taken = await store.load(given.session_id)
            assert same(taken.state, with_scene(chunks, made))
            assert same(await store.asset(taken.state.scene), made)
        # Later chunks name the same asset and do not bring it.
        await store.commit(given.session_id, record.fence, with_scene(3, scene("e")))
        taken = await store.claim(given.session_id, "two", replace=True)
        assert same(taken.state, with_scene(3, scene("e")))
        assert same(await store.asset(taken.state.scene), scene("e"))
        assert same(await store.asset(given.asset), asset()), "the portrait is still needed"
        with pytest.raises(FenceLost):
            await store.commit(
                given.session_id, record.fence, with_scene(4, scene("f")), scene("f")
            )
        assert (await store.load(given.session_id)).state.scene == "e" * 64

    run(body)


def test_an_idle_loop_and_its_played_chunks_come_back_bit_by_bit(
    run: Callable[[Test], None],
) -> None:
    async def body(store: SessionStore) -> None:
        given = setting()
        await store.create(given, state(), asset())
        record = await store.claim(given.session_id, "one", replace=False)
        made = state(4)
        loop = (made.history[1].latents, made.history[2].latents, array(1, 16, 9, 12, 12, seed=9))
        played = dataclasses.replace(plan(4), loop_chunk=2, backward=True)
        kept = dataclasses.replace(made, loop=loop)
        await store.commit(given.session_id, record.fence, kept)
        await store.begin(given.session_id, record.fence, played)
        taken = (await store.load(given.session_id)).state
        assert same(taken, kept.begin(played))
        assert (await store.load(given.session_id, light=True)).state.loop == ()
        # An array stays as long as the loop needs it, also when no chunk of the history does.
        later = dataclasses.replace(state(9), loop=loop)
        await store.commit(given.session_id, record.fence, later)
        assert same((await store.load(given.session_id)).state, later)

    run(body)


def test_the_asset_lives_as_long_as_a_session_with_that_prompt(
    run_timed: Callable[[TimedTest], None],
) -> None:
    async def body(store: SessionStore, age: Age) -> None:
        short, long = setting(ttl_s=1_000.0, asset="d" * 64), setting(ttl_s=10_000.0)
        await store.create(short, state(), scene("d"))
        await store.create(long, state(), asset())
        record = await store.claim(long.session_id, "one", replace=False)
        await store.commit(long.session_id, record.fence, with_scene(1, scene("d")), scene("d"))
        await age(2 * (short.ttl_s + LIMITS.asset_margin_s))
        with pytest.raises(SessionGone):
            await store.load(short.session_id)
        assert same(await store.asset("d" * 64), scene("d"))
        await age(10 * long.ttl_s)
        with pytest.raises(SessionGone):
            await store.asset("d" * 64)

    run_timed(body)
