"""Batches of cached videos: one bucket per global step, every clip once before any comes again.

Which clips a step sees, and with which references, is a function of the seed and the step alone:
all ranks pick the same global batch and load their own rows of it.

Legend: B global batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec
from training.data.bucket_order import BucketOrder
from training.data.stage1_batch import ClipOdds, Stage1Batch, Stage1Picks, Stage1Sampler
from training.data.stage2_batch import Beginning, Stage2Batch, Stage2Sampler
from training.data.video_cache import BucketCache


@dataclass(frozen=True)
class VideoPicks:
    """Rows of one bucket's cache that make a batch."""

    bucket: int
    picks: Stage1Picks

    def rows(self, mine: slice) -> VideoPicks:
        """A part of them."""
        return VideoPicks(self.bucket, self.picks.rows(mine))


class VideoStage1Sampler:
    """Stage 1 batches from the caches of a source.

    Args:
        caches: one per bucket.
        spec: the stream contract.
        batch: B, of all ranks together.
        seed: of the order, the references and the cold starts.
        cold_start: share of samples whose reference is their own first frame (training
            specification 1.1, item 5); lead-in clips always are such and come as often as others.
    """

    def __init__(
        self,
        caches: Sequence[BucketCache],
        spec: StreamSpec,
        *,
        batch: int,
        seed: int = 0,
        cold_start: float = 0.15,
    ) -> None:
        self.caches, self.seed = caches, seed
        self._samplers = []
        counts = {}
        for bucket, cache in enumerate(caches):
            plan = cache.clips.plan
            lead_in = 1.0 / plan.per_utterance if plan.lead_in else 0.0
            self._samplers.append(Stage1Sampler(cache.clips, ClipOdds(cold_start, lead_in), spec))
            counts[bucket] = len(cache.good_U) * plan.per_utterance
        self.order = BucketOrder(counts, batch, seed)

    def pick(self, step: int) -> VideoPicks:
        """The global batch of a step; ``rows`` of it are a rank's."""
        drawn = self.order.at(step)
        cache = self.caches[drawn.bucket]
        unit_B, place_B = np.divmod(drawn.row_B, cache.clips.plan.per_utterance)
        clip_B = cache.good_U[unit_B] * cache.clips.plan.per_utterance + place_B
        rng = np.random.default_rng([self.seed, step])
        return VideoPicks(drawn.bucket, self._samplers[drawn.bucket].pick_for(clip_B, rng))

    def batch(self, picks: VideoPicks) -> Stage1Batch:
        """What the cache says of them; ``utterance_B`` are videos of the source."""
        batch = self._samplers[picks.bucket].batch(picks.picks)
        videos_B = self.caches[picks.bucket].videos_of(batch.utterance_B)
        return replace(batch, utterance_B=videos_B)


class VideoStage2Sampler:
    """Stage 2 batches from the caches of a source; every shot once before any comes again.

    Args:
        caches: one per bucket, with stretches.
        spec: the stream contract.
        batch: B, of all ranks together.
        seed: of the order, the places and the references.

    Raises:
        InputError: caches without stretches.
    """

    def __init__(
        self, caches: Sequence[BucketCache], spec: StreamSpec, *, batch: int, seed: int = 0
    ) -> None:
        self.caches, self.seed, self.size = caches, seed, batch
        self._samplers = []
        for cache in caches:
            if cache.stretches is None:
                raise InputError("caches", cache.size_hw, "built with a plan of stretches")
            self._samplers.append(Stage2Sampler(cache.clips, cache.stretches, spec))
        counts = {bucket: len(cache.good_U) for bucket, cache in enumerate(caches)}
        self.order = BucketOrder(counts, batch, seed)

    def draw(
        self, number: int, chunks: int, *, beginning: Beginning, mine: slice = slice(None)
    ) -> Stage2Batch:
        """The first ``chunks`` chunks of the stretches of draw ``number``.

        Args:
            number: counts the draws from this sampler, from 0.
            chunks: that are rolled out.
            beginning: of streams: all, none, or each as it is said.
            mine: the rows to load.
        """
        drawn = self.order.at(number)
        cache = self.caches[drawn.bucket]
        batch = self._samplers[drawn.bucket].draw(
            self.size,
            chunks,
            np.random.default_rng([self.seed, number]),
            beginning=beginning,
            mine=mine,
            utterance_B=cache.good_U[drawn.row_B],
        )
        return replace(batch, utterance_B=cache.videos_of(batch.utterance_B))
