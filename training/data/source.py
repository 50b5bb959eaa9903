"""What training asks of videos, wherever they come from.

Legend: T frames at 25 fps, H W pixels, S samples at 16 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec
from training.data.buckets import SizeHW

Frames = npt.NDArray[np.uint8]
Pcm = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What is known of a video without decoding it.

    Args:
        key: its name in messages.
        frames: length at 25 fps.
        size_hw: height and width in pixels, upright and cropped; decides the bucket.
        caption: a description, may be empty.
        shots: first frame and end (exclusive) of each stretch without a cut, in order.
    """

    key: str
    frames: int
    size_hw: SizeHW
    caption: str
    shots: tuple[tuple[int, int], ...]


class VideoSource(Protocol):
    """Videos with their sound and captions; SynthTalk and recorded videos alike."""

    @property
    def name(self) -> str:
        """A short name, fit for a folder."""

    @property
    def digest(self) -> str:
        """Changes whenever any frame, sound, shot or caption does."""

    def __len__(self) -> int:
        """How many videos there are."""

    def facts(self, index: int) -> VideoFacts:
        """See ``VideoFacts``."""

    def frames(self, index: int, first: int, count: int, size_hw: SizeHW) -> Frames:
        """Frames ``first .. first + count - 1`` as uint8 [T, H, W, 3].

        They are scaled to cover ``size_hw`` and cut to its centre.

        Raises:
            InputError: outside the video, or a file that cannot be decoded (``BadVideoError``).
        """

    def pcm(self, index: int, first: int, count: int) -> Pcm:
        """The sound of these frames, float32 [count * 640], mono; zeros where there is none.

        Raises:
            InputError: as ``frames``.
        """


@dataclass(frozen=True, slots=True)
class Unit:
    """One shot: the stretch that clips, their references and their speech are taken from.

    To training it is what a stream is: what was said before its first frame was never heard.
    """

    video: int
    first: int
    frames: int


def units_of(source: VideoSource, fewest: int) -> list[Unit]:
    """All shots of at least ``fewest`` frames, in order."""
    return [
        Unit(video, first, end - first)
        for video in range(len(source))
        for first, end in source.facts(video).shots
        if end - first >= fewest
    ]


def held_frames(source: VideoSource, unit: Unit, start: int, count: int, size_hw: SizeHW) -> Frames:
    """Frames ``start .. start + count - 1`` of a shot, uint8 [T, H, W, 3].

    A negative start holds the first frame, as before the beginning of a stream.
    """
    ahead = max(0, -start)
    shown = source.frames(unit.video, unit.first + max(start, 0), max(1, count - ahead), size_hw)
    return np.concatenate([np.repeat(shown[:1], min(ahead, count - 1), axis=0), shown])[:count]


def check_range(facts: VideoFacts, first: int, count: int) -> None:
    """Raises InputError for frames that a video does not have."""
    if first < 0 or count < 1 or first + count > facts.frames:
        limit = f"inside 0 .. {facts.frames} of {facts.key}"
        raise InputError("first, count", (first, count), limit)


def quiet_share(
    pcm_S: Pcm, rows: npt.NDArray[np.int64], spec: StreamSpec, below_db: float = -35.0
) -> float:
    """Share of frames in which nobody speaks, by loudness alone.

    A frame counts as quiet that is ``below_db`` under the loudest twentieth of the shot. Rows
    outside the sound are quiet.
    """
    per_frame = spec.samples_per_frame
    power_T = (pcm_S[: len(pcm_S) // per_frame * per_frame].reshape(-1, per_frame) ** 2).mean(1)
    loud = float(np.quantile(power_T, 0.95)) if len(power_T) else 0.0
    inside = (rows >= 0) & (rows < len(power_T))
    quiet = np.ones(len(rows), dtype=bool)
    quiet[inside] = power_T[rows[inside]] <= max(loud, 1e-10) * 10.0 ** (below_db / 10.0)
    return float(quiet.mean())
