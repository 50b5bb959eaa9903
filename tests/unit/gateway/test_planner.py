"""What the next chunk shows, for every policy."""

import pytest

from flashtalk.streaming import StreamSpec
from flashtalk.v1 import session_service_pb2 as pb
from services.gateway.stream.intake import Portion
from services.gateway.stream.pace import JITTER_FRAMES
from services.gateway.stream.planner import IDLE, LISTENING, SPEAKING, NextChunk, Wait, next_chunk

SPEC = StreamSpec()
FULL = SPEC.new_samples
LIVE = [pb.IDLE_POLICY_MODEL, pb.IDLE_POLICY_HOLD, pb.IDLE_POLICY_LOOP]
POLICIES = [*LIVE, pb.IDLE_POLICY_WAIT]


def decide(
    policy: int,
    samples: int,
    ended: bool = False,
    open_: bool = False,
    begins: bool = False,
    **how: bool,
) -> NextChunk | Wait | None:
    known = {"finished": False, "latest": False, "listening": False}
    given = {**known, "can_hold": True, "can_loop": True, **how}
    return next_chunk(SPEC, policy, Portion(samples, ended, open_, begins), **given)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("ended", [False, True])
def test_a_full_chunk_is_made_at_once(policy: int, ended: bool) -> None:
    chunk = decide(policy, FULL, ended)
    assert isinstance(chunk, NextChunk)
    assert (chunk.frames, chunk.activity, chunk.missing) == (28, SPEAKING, 0)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (640, 1), (641, 2), (17_919, 28)])
def test_a_file_ends_with_the_frame_that_shows_its_last_sample(samples: int, frames: int) -> None:
    chunk = decide(pb.IDLE_POLICY_WAIT, samples, ended=True)
    assert isinstance(chunk, NextChunk)
    assert chunk.frames == frames


@pytest.mark.parametrize("policy", LIVE)
def test_the_end_of_an_utterance_closes_the_mouth_in_a_whole_chunk(policy: int) -> None:
    chunk = decide(policy, 641, ended=True)
    assert isinstance(chunk, NextChunk)
    assert (chunk.frames, chunk.missing, chunk.held) == (28, 0, False)
    last = decide(policy, 641, ended=True, finished=True)
    assert isinstance(last, NextChunk)
    assert last.frames == 2


def test_an_unfinished_utterance_waits_until_the_last_moment() -> None:
    assert decide(pb.IDLE_POLICY_WAIT, 900, open_=True, latest=True) is Wait.FOR_SPEECH
    for policy in LIVE:
        assert decide(policy, 900, open_=True) is Wait.UNTIL_LATEST
        chunk = decide(policy, 900, open_=True, latest=True)
        assert isinstance(chunk, NextChunk)
        assert (chunk.activity, chunk.missing, chunk.held) == (SPEAKING, FULL - 900, False)
        begun = decide(policy, 0, open_=True, latest=True)
        assert isinstance(begun, NextChunk)
        assert (begun.activity, begun.missing) == (LISTENING, FULL)


@pytest.mark.parametrize("policy", LIVE)
def test_the_beginning_of_an_utterance_leaves_no_gap_before_its_rest(policy: int) -> None:
    jitter = JITTER_FRAMES * SPEC.samples_per_frame
    assert decide(policy, 9_000, open_=True, begins=True) is Wait.UNTIL_LATEST

    chunk = decide(policy, 9_000, open_=True, begins=True, latest=True)
    assert isinstance(chunk, NextChunk)
    assert (chunk.portion.samples, chunk.activity, chunk.missing) == (9_000 - jitter, SPEAKING, 0)
    assert chunk.lead_in + chunk.portion.samples == FULL

    first = decide(policy, jitter, open_=True, begins=True, latest=True)
    assert isinstance(first, NextChunk)
    assert (first.portion.samples, first.activity, first.missing) == (0, LISTENING, 0)
    assert first.held == (policy == pb.IDLE_POLICY_HOLD)
    assert first.looped == (policy == pb.IDLE_POLICY_LOOP)

    then = decide(policy, jitter, open_=True, begins=True, latest=True, listening=True)
    assert isinstance(then, NextChunk)
    assert (then.portion.samples, then.lead_in, then.missing) == (jitter, FULL - jitter, 0)


def test_idling_is_what_the_policy_says() -> None:
    for policy in POLICIES:
        idle = decide(policy, 0)
        assert idle is (Wait.FOR_SPEECH if policy == pb.IDLE_POLICY_WAIT else Wait.UNTIL_LATEST)
    moving = decide(pb.IDLE_POLICY_MODEL, 0, latest=True)
    still = decide(pb.IDLE_POLICY_HOLD, 0, latest=True)
    first = decide(pb.IDLE_POLICY_HOLD, 0, latest=True, can_hold=False)
    assert isinstance(moving, NextChunk)
    assert isinstance(still, NextChunk)
    assert isinstance(first, NextChunk)
    assert (moving.held, still.held, first.held) == (False, True, False)
    assert not moving.looped
    for complete in (False, True):
        loop = decide(pb.IDLE_POLICY_LOOP, 0, latest=True, can_loop=complete)
        assert isinstance(loop, NextChunk)
        assert (loop.looped, loop.held, loop.activity) == (complete, False, IDLE)
    assert moving.activity == still.activity == IDLE
    assert moving.missing == still.missing == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_the_stream_ends_when_everything_was_said(policy: int) -> None:
    assert decide(policy, 0, finished=True) is None
    assert decide(policy, 0, ended=True, finished=True) is None
    assert isinstance(decide(policy, 5, ended=True, finished=True), NextChunk)
