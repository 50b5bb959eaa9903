"""Frames leave at their time, in order; a late one moves the clock; an interruption empties it."""

import asyncio

import pytest

from flashtalk.v1 import stream_pb2 as pb
from services.gateway.stream.outgoing import OutgoingFrame
from services.gateway.stream.playout import Outbox, PlayClock
from tests.fakes.virtual_time import pass_time, run_virtual


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def frame(index: int, video: bytes = b"") -> OutgoingFrame:
    return OutgoingFrame(index, video=video)


async def put(outbox: Outbox, each: OutgoingFrame | pb.StreamResponse) -> None:
    if isinstance(each, OutgoingFrame):
        await outbox.put_frame(each)
    else:
        await outbox.put(each)


def note() -> pb.StreamResponse:
    return pb.StreamResponse(heartbeat=pb.Heartbeat())


def test_frames_are_due_one_after_the_other() -> None:
    hand = Hand()
    clock = PlayClock(25, 0.2, paced=True, now_s=hand)
    assert clock.wait_s(10) == 0
    assert clock.leave(10) == 0
    assert clock.due_s(10) == pytest.approx(100.2)
    assert clock.wait_s(11) == pytest.approx(0.04)
    assert clock.wait_s(35) == pytest.approx(1.0)


def test_the_first_frame_may_be_expected_later() -> None:
    hand = Hand()
    clock = PlayClock(25, 0.2, paced=True, now_s=hand)
    clock.expect(10, hand.s + 1.0)
    assert clock.wait_s(10) == pytest.approx(0.8)
    assert clock.played(10) == 10
    hand.s += 0.8
    assert clock.leave(10) == 0
    assert clock.due_s(10) == pytest.approx(101.0)
    late = PlayClock(25, 0.2, paced=True, now_s=hand)
    late.expect(10, hand.s - 1.0)
    assert late.wait_s(10) <= 0
    assert late.leave(10) == 0
    assert late.due_s(10) == pytest.approx(hand.s + 0.2)


def test_a_late_frame_moves_the_clock_and_nothing_is_skipped() -> None:
    hand = Hand()
    clock = PlayClock(25, 0.0, paced=True, now_s=hand)
    clock.leave(0)
    hand.s += 0.5
    assert clock.leave(1) == pytest.approx(0.46)
    assert clock.wait_s(2) == pytest.approx(0.04)


def test_what_was_played_follows_the_clock_and_never_what_was_not_sent() -> None:
    hand = Hand()
    clock = PlayClock(25, 0.2, paced=True, now_s=hand)
    clock.leave(0)
    assert clock.played(6) == 0  # sent ahead: nothing is shown yet
    hand.s += 0.2
    assert clock.played(6) == 1
    hand.s += 0.04 * 3.5
    assert clock.played(6) == 4
    hand.s += 9
    assert clock.played(6) == 6
    assert PlayClock(25, 0.2, paced=False, now_s=hand).played(6) == 6


def test_after_a_rewind_the_frame_is_due_again() -> None:
    hand = Hand()
    clock = PlayClock(25, 0.0, paced=True, now_s=hand)
    clock.leave(0)
    hand.s += 1.0
    clock.rewind(20)
    assert clock.due_s(20) == pytest.approx(hand.s)
    clock.rewind(50)
    assert clock.due_s(50) == pytest.approx(hand.s + 30 / 25)


def test_messages_keep_their_order_and_frames_wait_for_their_time() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        outbox = Outbox(PlayClock(25, 0.0, paced=True, now_s=loop.time), 0, limit=10)
        for each in (frame(0), frame(1), note(), frame(2)):
            await put(outbox, each)
        first = await outbox.get(1)
        start = loop.time()
        second, third, fourth = [await outbox.get(1) for _ in range(3)]
        assert [r.WhichOneof("message") for r in (first, second, third, fourth) if r] == [
            "frame",
            "frame",
            "heartbeat",
            "frame",
        ]
        assert loop.time() - start == pytest.approx(0.08, abs=1e-6)
        assert outbox.sent_frames == 3
        start = loop.time()
        assert await outbox.get(0.01) is None
        assert loop.time() - start == pytest.approx(0.01, abs=1e-6)

    run_virtual(scenario)


def test_only_so_many_frames_wait() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        outbox = Outbox(PlayClock(25, 0.0, paced=False, now_s=loop.time), 0, limit=2)
        await outbox.put_frame(frame(0))
        await outbox.put_frame(frame(1))
        await outbox.put(note())
        third = asyncio.create_task(outbox.put_frame(frame(2)))
        await pass_time(3_600)
        assert not third.done()
        await outbox.get(1)
        begun_s = loop.time()
        await third
        assert loop.time() == begun_s, "at once"

    run_virtual(scenario)


def test_a_flush_takes_frames_away_even_from_a_waiting_sender() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        outbox = Outbox(PlayClock(1, 0.0, paced=True, now_s=loop.time), 0, limit=9)
        await outbox.put_frame(frame(0))
        await outbox.put_frame(frame(1))  # due in a second
        await outbox.get(1)
        getting = asyncio.create_task(outbox.get(5))
        await pass_time(0.5)
        begun_s = loop.time()
        outbox.flush()
        await outbox.put(note())
        response = await getting
        assert loop.time() == begun_s, "at once"
        assert response is not None
        assert response.WhichOneof("message") == "heartbeat"
        assert outbox.waiting_frames == 0

    run_virtual(scenario)


def test_the_next_frame_to_put_follows_what_waits_or_what_was_cut() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        outbox = Outbox(PlayClock(25, 0.0, paced=False, now_s=loop.time), 7, limit=9)
        assert outbox.next_frame == 7
        for index in (7, 8, 9):
            await outbox.put_frame(frame(index))
        assert outbox.next_frame == 10
        await outbox.get(1)
        assert outbox.next_frame == 10
        outbox.flush()
        assert outbox.next_frame == 8, "what did not leave is not had by anybody"
        outbox.rewind(5)
        assert outbox.next_frame == 5

    run_virtual(scenario)


def test_an_activity_is_told_when_it_changes() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        outbox = Outbox(PlayClock(25, 0.0, paced=False, now_s=loop.time), 0, limit=9)
        kinds = pb.Activity.KIND_SPEAKING, pb.Activity.KIND_SPEAKING, pb.Activity.KIND_IDLE
        for number, kind in enumerate(kinds):
            await outbox.put_activity(kind, number)
            await outbox.put_frame(frame(number))
        left = [await outbox.get(1) for _ in range(5)]
        told = [r.activity for r in left if r is not None and r.HasField("activity")]
        assert [(each.kind, each.frame_index) for each in told] == [(kinds[0], 0), (kinds[2], 2)]
        assert outbox.activity == kinds[2]

    run_virtual(scenario)


def test_an_activity_that_was_flushed_unsent_is_told_again() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        outbox = Outbox(PlayClock(25, 0.0, paced=False, now_s=loop.time), 0, limit=9)
        speaking, idle = pb.Activity.KIND_SPEAKING, pb.Activity.KIND_IDLE
        await outbox.put_activity(idle, 0)
        await outbox.get(1)
        await outbox.put_activity(speaking, 0)
        await outbox.put_frame(frame(0))
        outbox.flush()
        assert outbox.activity == idle, "what the client knows"
        await outbox.put_activity(speaking, 0)
        told = await outbox.get(1)
        assert told is not None
        assert told.activity.kind == speaking

    run_virtual(scenario)


def frames_of(response: pb.StreamResponse | None) -> list[int]:
    assert response is not None
    if response.HasField("frame"):
        return [response.frame.frame_index]
    return [frame.frame_index for frame in response.frames.frames]


def test_frames_leave_with_the_first_of_them_and_none_is_waited_for() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        clock = PlayClock(25, 0.0, paced=True, now_s=loop.time)
        outbox = Outbox(clock, 0, limit=99, together=4)
        for index in range(6):
            await outbox.put_frame(frame(index))
        begun_s = loop.time()
        assert frames_of(await outbox.get(1)) == [0, 1, 2, 3]
        assert (outbox.sent_frames, outbox.waiting_frames) == (4, 2)
        assert loop.time() == begun_s
        assert frames_of(await outbox.get(1)) == [4, 5]
        assert loop.time() - begun_s == pytest.approx(4 / 25)
        getting = asyncio.create_task(outbox.get(1))
        await pass_time(0.5)
        await outbox.put_frame(frame(6))
        assert frames_of(await getting) == [6], "it is late: nothing else is waited for"
        assert loop.time() - begun_s == pytest.approx(4 / 25 + 0.5)
        assert outbox.late_s == pytest.approx(0.5 - 2 / 25)
        assert clock.played(7) == 7

    run_virtual(scenario)


def test_what_stands_between_frames_keeps_its_place() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        outbox = Outbox(PlayClock(25, 0.0, paced=False, now_s=loop.time), 0, limit=99, together=28)
        for each in (frame(0), frame(1), note(), frame(2), frame(3)):
            await put(outbox, each)
        taken = [await outbox.get(1) for _ in range(3)]
        assert frames_of(taken[0]) == [0, 1]
        assert taken[1] == note()
        assert frames_of(taken[2]) == [2, 3]

    run_virtual(scenario)


def test_large_pictures_do_not_add_up_to_a_message_that_is_too_large() -> None:
    """Clients take 4 MiB unless they say otherwise."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        outbox = Outbox(PlayClock(25, 0.0, paced=False, now_s=loop.time), 0, limit=99, together=28)
        for index in range(4):
            await outbox.put_frame(frame(index, bytes(200_000)))
        await outbox.put_frame(frame(4, bytes(3_000_000)))
        assert [frames_of(await outbox.get(1)) for _ in range(3)] == [[0, 1], [2, 3], [4]]

    run_virtual(scenario)


def test_a_client_that_asked_for_nothing_gets_one_frame_after_the_other() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        for together in (0, 1):
            clock = PlayClock(25, 0.0, paced=False, now_s=loop.time)
            outbox = Outbox(clock, 0, limit=99, together=together)
            for index in range(3):
                await outbox.put_frame(frame(index))
            taken = [await outbox.get(1) for _ in range(3)]
            assert [r.WhichOneof("message") for r in taken if r] == ["frame"] * 3

    run_virtual(scenario)
