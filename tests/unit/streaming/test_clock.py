"""The chunk clock: any packets give the same chunks, and counting is exact at both ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashtalk.errors import InputError
from flashtalk.streaming import AudioChunk, ChunkClock, Pcm, StreamSpec, chunks, frame_count

# Chunks of 5 frames, 4 of them new, and 4 samples per frame: every border is reached quickly.
SMALL = StreamSpec(fps=25, chunk_frames=5, motion_frames=1, pcm_hz=100, window_s=1)


def counted(samples: int) -> Pcm:
    """Samples that know their own place."""
    return np.arange(1, samples + 1, dtype=np.float32)


def packets_of(pcm: Pcm, sizes: list[int]) -> Iterator[Pcm]:
    """The sound in packets of these sizes, again and again until it is used up."""
    start = 0
    while start < len(pcm):
        for size in sizes:
            yield pcm[start : start + size]
            start += size


def same(left: list[AudioChunk], right: list[AudioChunk]) -> bool:
    return len(left) == len(right) and all(
        (a.index, a.samples, a.frames, a.first_frame, a.first_sample)
        == (b.index, b.samples, b.frames, b.first_frame, b.first_sample)
        and np.array_equal(a.pcm_S, b.pcm_S)
        for a, b in zip(left, right, strict=True)
    )


@given(
    samples=st.integers(0, 200),
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any),
)
def test_any_packetisation_gives_the_same_chunks(samples: int, sizes: list[int]) -> None:
    pcm = counted(samples)
    whole = list(chunks([pcm], SMALL))
    assert same(list(chunks(packets_of(pcm, sizes), SMALL)), whole)


@given(samples=st.integers(0, 500))
def test_every_sample_is_in_one_chunk_and_frames_cover_them_exactly(samples: int) -> None:
    pcm = counted(samples)
    found = list(chunks([pcm], SMALL))
    assert [chunk.index for chunk in found] == list(range(len(found)))
    kept = [chunk.pcm_S[: chunk.samples] for chunk in found]
    assert np.array_equal(np.concatenate([*kept, np.zeros(0, np.float32)]), pcm)
    assert sum(chunk.frames for chunk in found) == frame_count(samples, SMALL)
    for chunk in found:
        assert chunk.pcm_S.shape == (SMALL.new_samples,)
        assert not chunk.pcm_S[chunk.samples :].any()
        assert chunk.first_sample == chunk.first_frame * SMALL.samples_per_frame
        assert pcm[chunk.first_sample] == chunk.pcm_S[0]
        assert 0 <= chunk.frames * SMALL.samples_per_frame - chunk.samples < 4


def test_the_published_numbers_and_the_last_frame() -> None:
    spec = StreamSpec()
    (first, last) = chunks([counted(17_920 + 641)], spec)
    assert (first.frames, first.samples, last.frames, last.samples) == (28, 17_920, 2, 641)
    assert (last.first_frame, last.first_sample) == (28, 17_920)
    assert [frame_count(n, spec) for n in (0, 1, 640, 641)] == [0, 1, 1, 2]


def test_a_chunk_is_given_as_soon_as_its_last_sample_is_there() -> None:
    clock = ChunkClock(SMALL)
    assert list(clock.push(counted(SMALL.new_samples - 1))) == []
    assert clock.waiting_samples == SMALL.new_samples - 1
    assert [chunk.index for chunk in clock.push(counted(1))] == [0]
    assert clock.waiting_samples == 0
    assert clock.finish() is None


@given(before=st.integers(0, 40), left=st.integers(0, 40), right=st.integers(0, 40))
def test_copies_of_a_clock_do_not_influence_each_other(before: int, left: int, right: int) -> None:
    pcm = counted(before + max(left, right))
    clock = ChunkClock(SMALL)
    list(clock.push(pcm[:before]))
    other = clock.copy()

    def rest(of: ChunkClock, samples: int) -> list[AudioChunk]:
        found = list(of.push(pcm[before : before + samples]))
        last = of.finish()
        return found if last is None else [*found, last]

    first, second = rest(clock, left), rest(other, right)
    for found, samples in ((first, left), (second, right)):
        whole = list(chunks([pcm[: before + samples]], SMALL))
        assert same(found, whole[len(whole) - len(found) :])


def test_a_stream_is_taken_up_where_it_stopped() -> None:
    (chunk,) = ChunkClock(SMALL, next_index=3).push(counted(SMALL.new_samples))
    assert (chunk.index, chunk.first_frame) == (3, 12)


@pytest.mark.parametrize(
    "packet",
    [
        np.zeros((2, 3), np.float32),
        np.zeros(3, np.float64),
        np.zeros(3, np.int16),
        np.array([0, np.nan], np.float32),
        np.array([np.inf], np.float32),
    ],
    ids=["two axes", "float64", "int16", "nan", "inf"],
)
def test_packets_that_are_not_sound_are_refused_at_once(packet: Pcm) -> None:
    with pytest.raises(InputError, match="pcm"):
        ChunkClock(SMALL).push(packet)


@settings(deadline=None, max_examples=5)
@given(minutes=st.integers(1, 3))
def test_a_long_packet_is_cut_piece_by_piece(minutes: int) -> None:
    spec = StreamSpec()
    samples = minutes * 60 * spec.pcm_hz
    seen = sum(chunk.frames for chunk in ChunkClock(spec).push(np.zeros(samples, np.float32)))
    assert seen == samples // spec.new_samples * spec.new_frames
