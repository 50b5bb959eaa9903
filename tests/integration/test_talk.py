"""The chunk loop: streamed is offline, both ends are exact, sessions are values, memory is flat."""

from __future__ import annotations

import dataclasses
import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flashtalk.engine import (
    AudioEncoder,
    ChunkResult,
    FlashTalkPipeline,
    Sampling,
    advance,
    load_pipeline,
    random_pipeline,
    start,
    talk,
)
from flashtalk.errors import InputError
from flashtalk.streaming import ChunkClock, Pcm, StreamSpec
from tests.fakes.weights import MICRO, MICRO_SAMPLING, micro_pipeline, write_published_layout
from tests.tolerances import assert_frames

SPEC = StreamSpec()
PORTRAIT = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def speech(samples: int, seed: int = 0) -> Pcm:
    """Noise with the ups and downs of speech."""
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.uniform(0, 0.3, samples // 1_600 + 1), 1_600)[:samples]
    return (rng.standard_normal(samples) * loudness).astype(np.float32)


def in_packets(pcm: Pcm, size: int) -> Iterator[Pcm]:
    return (pcm[start : start + size] for start in range(0, len(pcm), size))


@pytest.fixture(scope="module")
def pipeline() -> FlashTalkPipeline:
    return micro_pipeline()


def frames_of(results: list[ChunkResult]) -> np.ndarray:
    return np.concatenate([result.frames_THWC for result in results])


def same(left: list[ChunkResult], right: list[ChunkResult]) -> bool:
    return len(left) == len(right) and all(
        np.array_equal(a.frames_THWC, b.frames_THWC) and np.array_equal(a.pcm_S, b.pcm_S)
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("packet_samples", [1, 320, 1_001, 30_000])
def test_streamed_is_offline_to_the_bit(pipeline: FlashTalkPipeline, packet_samples: int) -> None:
    pcm = speech(17_920 + 3_001)
    whole = list(talk(pipeline, PORTRAIT, [pcm], seed=3))
    streamed = list(talk(pipeline, PORTRAIT, in_packets(pcm, packet_samples), seed=3))
    assert same(streamed, whole)


def test_streamed_is_offline_at_the_tiny_presets_size() -> None:
    pipeline = random_pipeline(
        sampling=Sampling(steps=2, audio_guidance=3.0, height_px=64, width_px=64)
    )
    pcm = speech(20_000)
    whole = list(talk(pipeline, PORTRAIT, [pcm]))
    assert same(list(talk(pipeline, PORTRAIT, in_packets(pcm, 320))), whole)


@settings(deadline=None, max_examples=8)
@given(samples=st.integers(1, 40_000))
def test_every_sample_is_shown_and_no_frame_more(samples: int) -> None:
    pipeline = micro_pipeline(sampling=Sampling(steps=1, height_px=32, width_px=32))
    pcm = speech(samples)
    results = list(talk(pipeline, PORTRAIT, [pcm]))
    frames = -(-samples // 640)
    assert sum(len(result.frames_THWC) for result in results) == frames
    heard = np.concatenate([result.pcm_S for result in results])
    assert len(heard) == frames * 640
    assert np.array_equal(heard[:samples], pcm)
    assert not heard[samples:].any()
    for index, result in enumerate(results):
        assert result.index == index
        assert (result.first_frame, result.first_sample) == (28 * index, 17_920 * index)
        assert len(result.pcm_S) == 640 * len(result.frames_THWC)
        assert result.frames_THWC.dtype == np.uint8
        assert result.frames_THWC.shape[1:] == (32, 32, 3)


def test_each_chunk_hears_the_eight_seconds_that_end_with_it(pipeline: FlashTalkPipeline) -> None:
    """No lead of 5 frames, no lost tail: the last 33 feature rows are the chunk's own frames."""
    heard: list[Pcm] = []

    class Listening(AudioEncoder):
        def features(self, pcm_S: Pcm) -> Tensor:
            heard.append(pcm_S.copy())
            return super().features(pcm_S)

    encoder = Listening(pipeline.audio.model, SPEC)
    pcm = speech(9 * 17_920 + 100)
    list(talk(dataclasses.replace(pipeline, audio=encoder), PORTRAIT, [pcm]))
    padded = np.concatenate((np.zeros(128_000, np.float32), pcm, np.zeros(17_820, np.float32)))
    assert len(heard) == 10
    for index, window in enumerate(heard):
        end = 128_000 + (index + 1) * 17_920
        assert np.array_equal(window, padded[end - 128_000 : end])


def test_a_chunk_does_not_depend_on_what_is_said_later(pipeline: FlashTalkPipeline) -> None:
    pcm = speech(3 * 17_920)
    other = pcm.copy()
    other[17_920:] = speech(2 * 17_920, seed=9)
    first, second = (list(talk(pipeline, PORTRAIT, [sound])) for sound in (pcm, other))
    assert np.array_equal(first[0].frames_THWC, second[0].frames_THWC)
    assert not np.array_equal(first[1].frames_THWC, second[1].frames_THWC)


def test_seed_speech_portrait_and_prompt_all_matter_and_nothing_else(
    pipeline: FlashTalkPipeline,
) -> None:
    pcm = speech(17_920)

    def made(**changes: object) -> np.ndarray:
        chosen: dict[str, object] = {"portrait": PORTRAIT, "pcm": pcm, "seed": 1, "prompt": "a"}
        chosen |= changes
        results = talk(
            pipeline,
            chosen["portrait"],  # type: ignore[arg-type]
            [chosen["pcm"]],  # type: ignore[list-item]
            seed=chosen["seed"],  # type: ignore[arg-type]
            prompt=chosen["prompt"],  # type: ignore[arg-type]
        )
        return frames_of(list(results))

    first = made()
    assert np.array_equal(made(), first)
    for change in (
        {"seed": 2},
        {"pcm": speech(17_920, seed=4)},
        {"portrait": 255 - PORTRAIT},
        {"prompt": "b"},
    ):
        assert not np.array_equal(made(**change), first), change


def test_interleaved_talks_do_not_influence_each_other(pipeline: FlashTalkPipeline) -> None:
    inputs = [
        (PORTRAIT, speech(40_000, seed=1), 1),
        (255 - PORTRAIT, speech(40_000, seed=2), 2),
        (PORTRAIT, speech(40_000, seed=3), 1),
    ]
    alone = [list(talk(pipeline, image, [pcm], seed=seed)) for image, pcm, seed in inputs]
    running = [
        talk(pipeline, image, in_packets(pcm, 777), seed=seed) for image, pcm, seed in inputs
    ]
    together = list(zip(*running, strict=True))
    for index, expected in enumerate(alone):
        assert same([row[index] for row in together], expected)


def test_a_session_is_a_value_that_can_be_taken_up_twice(pipeline: FlashTalkPipeline) -> None:
    clock = ChunkClock(SPEC)
    first, second = clock.push(speech(2 * 17_920))
    before = start(pipeline, PORTRAIT, seed=7)
    _, between = advance(pipeline, before, first)
    once, _ = advance(pipeline, between, second)
    # What happens to other sessions in between changes nothing.
    advance(pipeline, between, first)
    again, _ = advance(pipeline, between, second)
    assert np.array_equal(once.frames_THWC, again.frames_THWC)
    assert before.state.chunk_index == 0
    assert before.state.motion_z.shape[2] == 1
    assert between.state.motion_z.shape[2] == 2


def test_stage_times_are_told(pipeline: FlashTalkPipeline) -> None:
    (result,) = talk(pipeline, PORTRAIT, [speech(640)])
    assert set(result.timings_s) == {"audio", "denoise", "decode", "color", "motion"}
    assert all(seconds > 0 for seconds in result.timings_s.values())
    assert result.compute_s == pytest.approx(sum(result.timings_s.values()))


def test_a_chunk_comes_out_as_soon_as_its_sound_is_in(pipeline: FlashTalkPipeline) -> None:
    taken = 0

    def live() -> Iterator[Pcm]:
        nonlocal taken
        for packet in in_packets(speech(3 * 17_920), 320):
            taken += len(packet)
            yield packet

    results = talk(pipeline, PORTRAIT, live())
    assert taken == 0
    for index in range(3):
        next(results)
        assert taken == (index + 1) * 17_920


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"size_hw": (40, 32)}, "height"),
        ({"size_hw": (0, 32)}, "height"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
    ],
)
def test_bad_arguments_are_refused_before_any_sound(
    pipeline: FlashTalkPipeline, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(InputError, match=field):
        talk(pipeline, PORTRAIT, [], **changes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="image"):
        talk(pipeline, PORTRAIT[:3, :1], [])


def test_no_sound_no_frames(pipeline: FlashTalkPipeline) -> None:
    assert list(talk(pipeline, PORTRAIT, [])) == []
    assert list(talk(pipeline, PORTRAIT, [np.zeros(0, np.float32)])) == []


def test_a_preset_size_turns_with_the_portrait(pipeline: FlashTalkPipeline) -> None:
    sampling = Sampling(steps=1, height_px=48, width_px=32)
    for portrait, shape in ((PORTRAIT, (32, 48)), (PORTRAIT.transpose(1, 0, 2), (48, 32))):
        (result,) = talk(pipeline, portrait, [speech(640)], sampling=sampling)
        assert result.frames_THWC.shape[1:3] == shape


def test_a_checkpoint_in_the_published_layout_talks(
    pipeline: FlashTalkPipeline, tmp_path: Path
) -> None:
    folder = write_published_layout(pipeline, tmp_path / "checkpoint")
    loaded = load_pipeline(
        "flashtalk-14b",
        folder,
        device="cpu",
        dtype="float32",
        architecture=MICRO,
        sampling=MICRO_SAMPLING,
    )
    pcm = speech(20_000)
    results = list(talk(loaded, PORTRAIT, [pcm], seed=1))
    assert frames_of(results).shape == (32, 32, 32, 3)
    # Only the vocabulary differs from the pipeline that was written: an empty prompt, its end
    # token alone, is the same text in both.
    # Weights that were read lie elsewhere, and kernels may ask where.
    found = list(talk(loaded, PORTRAIT, [pcm], seed=1, prompt=""))
    assert_frames(
        frames_of(found), frames_of(list(talk(pipeline, PORTRAIT, [pcm], seed=1, prompt="")))
    )


def test_memory_does_not_grow_with_the_length(pipeline: FlashTalkPipeline) -> None:
    sampling = Sampling(steps=1, height_px=32, width_px=32)

    def endless() -> Iterator[Pcm]:
        for second in range(10_000):
            yield speech(16_000, seed=second)

    results = talk(pipeline, PORTRAIT, endless(), sampling=sampling)
    for _ in range(15):
        next(results)
    resident_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        traced_before = tracemalloc.get_traced_memory()[0]
        for _ in range(60):
            next(results)
        grown_bytes = tracemalloc.get_traced_memory()[0] - traced_before
    finally:
        tracemalloc.stop()
    resident_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident_before
    assert grown_bytes < 2_000_000  # one chunk is 86 kB of frames, the ring 512 kB
    assert resident_kib < 32_000


def test_half_precision_talks_and_looks_the_same() -> None:
    sampling = Sampling(steps=2, audio_guidance=2.0, height_px=32, width_px=32)
    pcm = speech(20_000)
    full, half = (
        frames_of(
            list(talk(random_pipeline(MICRO, sampling=sampling, dtype=dtype), PORTRAIT, [pcm]))
        )
        for dtype in ("float32", "bfloat16")
    )
    difference = np.abs(full.astype(int) - half)
    assert 0 < difference.mean() < 4
