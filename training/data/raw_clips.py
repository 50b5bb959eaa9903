"""Clips decoded as they are needed, for training that has no latents to cache yet.

Legend: B batch of this rank, T frames of a clip (33), H W pixels, S samples of 8 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec
from training.data.bucket_order import BucketOrder
from training.data.buckets import BucketPlan, SizeHW, assign_buckets
from training.data.source import Frames, Pcm, Unit, VideoSource, held_frames, units_of
from training.data.speech import window_ending_at
from training.data.stage1_clips import ClipPlan, clip_starts
from training.data.synthtalk.reference import reference_frame
from training.data.video_cache import heard_before
from training.data.videos.problems import SkipList


@dataclass(frozen=True)
class RawBatch:
    """Clips of one bucket.

    Args:
        frames_BTHWC: uint8.
        reference_BHWC: uint8, a frame of the same shot outside the clip; the clip's first frame
            for lead-in clips.
        window_BS: float32, the 8 s of sound that end with the clip, not normalised.
        video_B: int64, which video of the source.
    """

    frames_BTHWC: npt.NDArray[np.uint8]
    reference_BHWC: npt.NDArray[np.uint8]
    window_BS: Pcm
    video_B: npt.NDArray[np.int64]


class RawClips:
    """Batches of decoded clips by step and rank.

    A video that cannot be read is listed and another clip of its bucket stands in; the same one
    whenever the step is asked for again, as long as the same files are bad.

    Args:
        source: the videos.
        plan: clips of each shot.
        buckets: sizes of the frames.
        spec: the stream contract.
        batch: of all ranks together.
        seed: of the order and the references.
        skipped: told of videos that cannot be read.

    Raises:
        InputError: no shot is long enough.
    """

    def __init__(
        self,
        source: VideoSource,
        plan: ClipPlan,
        buckets: BucketPlan,
        spec: StreamSpec,
        *,
        batch: int,
        seed: int = 0,
        skipped: SkipList | None = None,
    ) -> None:
        self.source, self.plan, self.spec, self.seed = source, plan, spec, seed
        self.skipped = SkipList() if skipped is None else skipped
        units = units_of(source, 2 * spec.chunk_frames)
        sizes = assign_buckets([source.facts(unit.video).size_hw for unit in units], buckets)
        self._units: dict[SizeHW, list[Unit]] = {}
        for unit, size in zip(units, sizes, strict=True):
            self._units.setdefault(size, []).append(unit)
        counts = {size: len(held) * plan.per_utterance for size, held in self._units.items()}
        self.order = BucketOrder(counts, batch, seed)

    def at(self, step: int, rank: int = 0, ranks: int = 1) -> RawBatch:
        """This rank's clips of a step.

        Raises:
            InputError: the batch does not divide, or no video of the bucket can be read.
        """
        drawn = self.order.at(step).of_rank(rank, ranks)
        clips = [self._readable(drawn.bucket, int(row), step) for row in drawn.row_B]
        frames, references, windows, videos = zip(*clips, strict=True)
        return RawBatch(
            np.stack(frames), np.stack(references), np.stack(windows), np.asarray(videos)
        )

    def _readable(self, size_hw: SizeHW, row: int, step: int) -> tuple[Frames, Frames, Pcm, int]:
        for chosen in self._with_stand_ins(size_hw, row, step):
            index, place = divmod(chosen, self.plan.per_utterance)
            unit = self._units[size_hw][index]
            key = self.source.facts(unit.video).key
            if key in self.skipped:
                continue
            try:
                rng = np.random.default_rng([self.seed, step, chosen])
                return *self._read(size_hw, unit, index, place, rng), unit.video
            except InputError as error:
                self.skipped.add(key, error)
        limit = f"one video that can be read: {self.skipped.counts}"
        raise InputError("bucket", f"{size_hw[1]}x{size_hw[0]}", limit)

    def _with_stand_ins(self, size_hw: SizeHW, row: int, step: int) -> Iterator[int]:
        """The row, then the bucket's others in an order of this row and step."""
        yield row
        rng = np.random.default_rng([self.seed, step, row])
        yield from rng.permutation(len(self._units[size_hw]) * self.plan.per_utterance).tolist()

    def _read(
        self, size_hw: SizeHW, unit: Unit, index: int, place: int, rng: np.random.Generator
    ) -> tuple[Frames, Frames, Pcm]:
        spec = self.spec
        start = int(clip_starts(self.plan, index, unit.frames, spec)[place])
        frames_THWC = held_frames(self.source, unit, start, spec.chunk_frames, size_hw)
        end = start + spec.chunk_frames
        heard_S, first = heard_before(self.source, unit, end, spec)
        window_S = window_ending_at(heard_S, end - first, spec)
        if start < 0:
            return frames_THWC, frames_THWC[0], window_S
        chosen = reference_frame(rng, start, spec.chunk_frames, unit.frames)
        reference = self.source.frames(unit.video, unit.first + chosen, 1, size_hw)[0]
        return frames_THWC, reference, window_S
