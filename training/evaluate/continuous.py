"""A very long stream (report, Figure 4: 1000 s), measured while it runs, without storing it.

Only one block of frames is in memory at a time, plus the frames that the contact sheet shows.

Legend: T frames, H W pixels, N samples at 16 kHz, K track columns.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from flashtalk.arrays import FloatArray, Frames, Pcm, Rgb
from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec
from training.evaluate.course import Course
from training.evaluate.dynamics import identity_distance
from training.evaluate.judges import Judges
from training.evaluate.lips import pearson
from training.evaluate.probes import Probes
from training.evaluate.reading import read_video
from training.evaluate.reference_clip import ReferenceClip, ReferenceClips

MARKS_S = (10.0, 100.0, 300.0, 1000.0)
BLOCK_CHUNKS = 10
_PACKET_FRAMES = 5


@runtime_checkable
class Streamer(Protocol):
    """A performer of unlimited streams."""

    @property
    def spec(self) -> StreamSpec:
        """Returns the stream spec of its weights."""

    def stream(
        self, portrait_HWC: Rgb, speech: Iterable[Pcm], *, prompt: str, seed: int
    ) -> Iterator[Frames]:
        """Chunks [T, H, W, 3], one frame per 640 samples, made as the speech is read."""


def evaluate_stream(
    streamer: Streamer,
    clips: ReferenceClips,
    probes: Probes,
    *,
    seconds: float,
    judges: Judges | None = None,
    marks_s: Sequence[float] = MARKS_S,
    seed: int = 0,
) -> Course:
    """Streams the first clip's person for ``seconds``: all clips' speeches in turn, repeatedly.

    Every block is measured against the first clip's portrait and the speech's own phonemes.

    Raises:
        InputError: fewer than three blocks, or no clips.
    """
    spec = streamer.spec
    block_frames = BLOCK_CHUNKS * spec.new_frames
    total = round(seconds * spec.fps)
    if not len(clips):
        raise InputError("clips", 0, "at least 1")
    if total < 3 * block_frames:
        raise InputError("seconds", seconds, f"at least {3 * block_frames / spec.fps:g}")
    person = clips[0]
    supply = _Supply(clips, total, spec)
    chunks = streamer.stream(
        person.portrait_HWC, supply.packets(), prompt=person.caption, seed=seed
    )
    wanted = {max(0, round(mark * spec.fps) - 1): mark for mark in marks_s if mark <= seconds}
    marks: dict[float, Rgb] = {0.0: person.portrait_HWC}
    curves: dict[str, list[float]] = {}
    done = 0
    for block_THWC in _blocks(chunks, block_frames):
        for frame, mark in wanted.items():
            if done <= frame < done + len(block_THWC):
                marks[mark] = block_THWC[frame - done].copy()
        # A short rest would be a noisier point than the others.
        if 2 * len(block_THWC) >= block_frames:
            heard = supply.take(done, len(block_THWC))
            for name, value in _measure(block_THWC, person, heard, probes, judges).items():
                curves.setdefault(name, []).append(value)
        done += len(block_THWC)
    slopes = {name: _slope(values, block_frames / spec.fps) for name, values in curves.items()}
    return Course(block_frames / spec.fps, curves, slopes, marks, done)


@dataclass(frozen=True)
class _Heard:
    """Returns speech [N] and the opening [T] of its phonemes of one block."""

    pcm_N: Pcm
    openness_T: FloatArray


class _Supply:
    """The endless speech; yielded speech is kept until its frames are measured."""

    def __init__(self, clips: ReferenceClips, frames: int, spec: StreamSpec) -> None:
        self._clips, self._frames, self._first = clips, frames, 0
        self._per_frame = spec.samples_per_frame
        self._pcm_N = np.zeros(0, np.float32)
        self._openness_T = np.zeros(0, np.float32)

    def packets(self) -> Iterator[Pcm]:
        """Yields packets of five frames, ``frames`` frames in all."""
        left, turn = self._frames, 0
        while left:
            clip = self._clips[turn % len(self._clips)]
            frames = min(left, len(clip.frames_THWC))
            openness_T = clip.track("openness")[:frames]
            pcm_N = clip.pcm_N[: self._per_frame * frames]
            # Release a minute's pixels while its speech is yielded.
            del clip
            for first in range(0, frames, _PACKET_FRAMES):
                begin = first * self._per_frame
                packet_N = pcm_N[begin : begin + _PACKET_FRAMES * self._per_frame]
                part_T = openness_T[first : first + len(packet_N) // self._per_frame]
                self._pcm_N = np.concatenate([self._pcm_N, packet_N])
                self._openness_T = np.concatenate([self._openness_T, part_T])
                yield packet_N
            left, turn = left - frames, turn + 1

    def take(self, first: int, frames: int) -> _Heard:
        """Returns the speech of ``frames`` frames from ``first`` on; drops everything before it."""
        self._drop(first)
        pcm_N = self._pcm_N[: frames * self._per_frame].copy()
        return _Heard(pcm_N, self._openness_T[:frames].copy())

    def _drop(self, first: int) -> None:
        gone = first - self._first
        self._pcm_N = self._pcm_N[gone * self._per_frame :]
        self._openness_T = self._openness_T[gone:]
        self._first = first


def _blocks(chunks: Iterable[Frames], block_frames: int) -> Iterator[Frames]:
    """The stream in pieces of ``block_frames``, the last one shorter."""
    kept: list[Frames] = []
    frames = 0
    for chunk_THWC in chunks:
        kept.append(chunk_THWC)
        frames += len(chunk_THWC)
        while frames >= block_frames:
            joined_THWC = np.concatenate(kept)
            yield joined_THWC[:block_frames]
            kept, frames = [joined_THWC[block_frames:].copy()], frames - block_frames
    if frames:
        yield np.concatenate(kept)


def _measure(
    block_THWC: Frames, person: ReferenceClip, heard: _Heard, probes: Probes, judges: Judges | None
) -> dict[str, float]:
    clip = _beside(block_THWC, person, heard)
    reading = read_video(block_THWC, clip, probes, judges=judges)
    distance_T = identity_distance(reading.measured.identity_TD, reading.portrait_D)
    return {
        "lip_corr": pearson(reading.measured.tracks["openness"], heard.openness_T),
        "identity": float(distance_T.mean()),
        "background_db": float(reading.background_db_T.mean()),
        "colour": float(reading.colour_T.mean()),
        "sharpness": float(reading.sharpness_T.mean()),
        "patched": float(reading.patched_T.mean()),
        **reading.scores,
    }


def _beside(block_THWC: Frames, person: ReferenceClip, heard: _Heard) -> ReferenceClip:
    """The block as a clip: the person's portrait and background, the speech that was heard.

    There are no true frames of this stream: the portrait replaces each of them.
    """
    frames = len(block_THWC)
    tracks_TK = np.repeat(person.tracks_TK[:1], frames, axis=0).copy()
    tracks_TK[:, person.track_names.index("openness")] = heard.openness_T
    still_THWC = np.broadcast_to(person.portrait_HWC, block_THWC.shape)
    nothing_THW = np.zeros(block_THWC.shape[:3], np.bool_)
    return ReferenceClip(
        name=person.name,
        pcm_N=heard.pcm_N,
        frames_THWC=still_THWC,
        tracks_TK=tracks_TK,
        track_names=person.track_names,
        silent_T=np.zeros(frames, np.bool_),
        mouth_THW=nothing_THW,
        background_HW=person.background_HW,
        caption=person.caption,
        background_under=person.background_under,
        drawn_under=person.drawn_under,
    )


def _slope(values: Sequence[float], block_s: float) -> float:
    """Returns the least-squares slope per 100 s; the first block, near the portrait, is skipped."""
    later = np.asarray(values[1:], np.float64)
    if len(later) < 2 or not np.isfinite(later).all():
        return float("nan")
    seconds = np.arange(len(later)) * block_s
    return float(100 * np.polyfit(seconds, later, 1)[0])
