"""Speech goes through the intake whole, in order, once; it is bounded and can be emptied."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.errors import InputError
from services.gateway.stream.intake import SpeechIntake
from tests.fakes.virtual_time import pass_time, run_virtual

CHUNK = 100


def ramp(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count, dtype=np.float32)


@given(
    packets=st.lists(st.integers(1, 250), min_size=1, max_size=20),
    ends=st.sets(st.integers(0, 19)),
)
def test_every_sample_comes_out_once_and_no_portion_spans_an_end(
    packets: list[int], ends: set[int]
) -> None:
    async def scenario() -> None:
        intake = SpeechIntake(used=0, utterances=0, limit=10**9)
        borders = set()
        for number, count in enumerate(packets):
            await intake.put(ramp(intake.received, count), intake.received)
            if number in ends:
                await intake.end()
                borders.add(intake.received)
        await intake.finish()
        borders.add(intake.received)
        taken: list[np.ndarray] = []
        while (portion := intake.front(CHUNK)).samples or portion.ended:
            begin = intake.used
            pcm_S = await intake.take(portion, CHUNK)
            assert not pcm_S[portion.samples :].any()
            assert not any(begin < border < intake.used for border in borders)
            assert portion.ended == (intake.used in borders)
            taken.append(pcm_S[: portion.samples])
        np.testing.assert_array_equal(np.concatenate(taken), ramp(0, sum(packets)))
        assert intake.utterances == len(borders)

    run_virtual(scenario)


def test_a_full_buffer_makes_the_sender_wait() -> None:
    async def scenario() -> None:
        intake = SpeechIntake(0, 0, limit=100)
        await intake.put(ramp(0, 150), 0)  # one packet may go over
        second = asyncio.create_task(intake.put(ramp(150, 10), 150))
        await pass_time(3_600)
        assert not second.done()
        await intake.take(intake.front(60), 60)
        await second
        assert intake.buffered == 100

    run_virtual(scenario)


def test_a_packet_that_waited_at_the_door_is_dropped_with_the_rest() -> None:
    async def scenario() -> None:
        intake = SpeechIntake(0, 0, limit=100)
        await intake.put(ramp(0, 100), 0)
        await intake.end()
        waiting = asyncio.create_task(intake.put(ramp(100, 40), 100))
        await pass_time(3_600)
        await intake.drop(intake.mark())
        await waiting
        assert intake.used == 140
        assert (intake.buffered, intake.received, intake.utterances) == (0, 140, 1)
        await intake.put(ramp(140, 5), 140)
        assert intake.front(CHUNK).samples == 5

    run_virtual(scenario)


@pytest.mark.parametrize("used", [0, 30, 60, 90])
def test_what_arrives_after_a_mark_stays(used: int) -> None:
    """Packets of 20 samples, an end behind the mark; some are used before the drop or none."""

    async def scenario() -> None:
        intake = SpeechIntake(0, 0, limit=1_000)
        for first in (0, 20, 40):
            await intake.put(ramp(first, 20), first)
        await intake.end()
        mark = intake.mark()
        await intake.put(ramp(60, 40), 60)
        await intake.end()
        while intake.used < used:
            await intake.take(intake.front(used - intake.used), CHUNK)
        await intake.drop(mark)
        position = max(used, 60)
        assert (intake.used, intake.utterances, intake.received) == (position, 1, 100)
        portion = intake.front(CHUNK)
        assert (portion.samples, portion.ended) == (100 - position, True)
        pcm_S = await intake.take(portion, CHUNK)
        np.testing.assert_array_equal(pcm_S[: portion.samples], ramp(position, portion.samples))
        assert intake.utterances == 2

    run_virtual(scenario)


@pytest.mark.parametrize("first", [0, 9, 11])
def test_a_packet_that_does_not_follow_is_refused_and_changes_nothing(first: int) -> None:
    async def scenario() -> None:
        intake = SpeechIntake(0, 0, limit=100)
        await intake.put(ramp(0, 10), 0)
        with pytest.raises(InputError, match="first_sample") as caught:
            await intake.put(ramp(first, 5), first)
        assert "10" in str(caught.value)
        assert intake.buffered == 10

    run_virtual(scenario)


def test_nothing_follows_the_end_of_everything() -> None:
    async def scenario() -> None:
        intake = SpeechIntake(0, 0, limit=100)
        await intake.finish()
        for call in (intake.put(ramp(0, 1), 0), intake.end(), intake.finish()):
            with pytest.raises(InputError, match="after finish"):
                await call

    run_virtual(scenario)


def test_a_resumed_intake_counts_from_where_the_old_one_stopped() -> None:
    async def scenario() -> None:
        intake = SpeechIntake(used=17_920, utterances=2, limit=100)
        await intake.put(ramp(0, 10), 17_920)
        await intake.end()
        portion = intake.front(CHUNK)
        assert (portion.samples, portion.ended, portion.open) == (10, True, False)
        await intake.take(portion, CHUNK)
        assert (intake.used, intake.utterances) == (17_930, 3)

    run_virtual(scenario)
