"""The interface of all training videos.

Legend: T frames at 25 fps, H W pixels, S samples at 16 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from flashtalk.arrays import BoolArray, FloatArray, Frames, IntArray, Pcm
from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec
from training.data.buckets import SizeHW


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """The properties of a video that are known without decoding it.

    Args:
        key: its name in messages.
        frames: length at 25 fps.
        size_hw: height and width in pixels, upright and cropped; determines the bucket.
        caption: a description, may be empty.
        shots: first frame and end (exclusive) of each stretch without a cut, in order.
    """

    key: str
    frames: int
    size_hw: SizeHW
    caption: str
    shots: tuple[tuple[int, int], ...]


class VideoSource(Protocol):
    """Videos with their sound and captions, from SynthTalk or recorded."""

    @property
    def name(self) -> str:
        """Returns a short name for folders."""

    @property
    def digest(self) -> str:
        """Returns a digest of all frames, sounds, shots and captions."""

    def __len__(self) -> int:
        """Returns the number of videos."""

    def facts(self, index: int) -> VideoFacts:
        """Returns the facts of a video."""

    def frames(self, index: int, first: int, count: int, size_hw: SizeHW) -> Frames:
        """Returns frames ``first .. first + count - 1`` as uint8 [T, H, W, 3].

        They are scaled to cover ``size_hw`` and cropped to its centre.

        Raises:
            InputError: outside the video, or a file that cannot be decoded (``BadVideoError``).
        """

    def pcm(self, index: int, first: int, count: int) -> Pcm:
        """Returns the sound of these frames, float32 [count * 640], mono; zeros without sound.

        Raises:
            InputError: as ``frames``.
        """

    def quiet(self, index: int, first: int, count: int) -> BoolArray:
        """In which of these frames nobody speaks, bool [count].

        By ``quiet_by_loudness`` if nothing better is known.

        Raises:
            InputError: as ``frames``.
        """


@runtime_checkable
class KnowsMouths(Protocol):
    """A source with known mouth positions."""

    def mouth_boxes(self, index: int, frames_T: IntArray, size_hw: SizeHW) -> FloatArray:
        """Boxes around the lips, float32 [T, 4]: top, left, bottom, right (end excluded) in pixels
        of frames of this size."""


def check_range(facts: VideoFacts, first: int, count: int) -> None:
    """Raises InputError for frames outside of a video."""
    if first < 0 or count < 1 or first + count > facts.frames:
        limit = f"must be within 0 .. {facts.frames} of {facts.key}"
        raise InputError("first, count", (first, count), limit)


def quiet_by_loudness(pcm_S: Pcm, spec: StreamSpec, below_db: float = -35.0) -> BoolArray:
    """In which frames of a sound nobody speaks, by loudness alone; bool [T].

    A frame is quiet if it is ``below_db`` under the loudest twentieth of the sound.
    """
    per_frame = spec.samples_per_frame
    power_T = (pcm_S[: len(pcm_S) // per_frame * per_frame].reshape(-1, per_frame) ** 2).mean(1)
    loud = float(np.quantile(power_T, 0.95)) if len(power_T) else 0.0
    quiet_T: BoolArray = power_T <= max(loud, 1e-10) * 10.0 ** (below_db / 10.0)
    return quiet_T
