"""Selects the cache rows of a batch: one bucket per global batch, the same on all ranks.

Samples are drawn anew for every batch, or in rounds: then every sample comes once before any is
repeated, and a batch is a function of the seed and its number only.

Legend: B global batch, N rows of a bucket, T frames of a chunk, W window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from flashtalk.arrays import BoolArray, DoubleArray, IntArray
from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec
from flashtalk.streaming.windows import window_indices
from training.data.batch import Picks, Stage1Batch, Stage2Batch
from training.data.cache import BucketCache, CachedRows
from training.data.order import BucketOrder
from training.data.units import clip_frames, references_outside

Order = Literal["drawn", "rounds"]

Beginning = bool | BoolArray
"""Whether streams begin with a batch: all, none, or bool [B], each for itself."""


@dataclass(frozen=True)
class ClipOdds:
    """Frequencies of kinds of clips.

    Args:
        order: ``drawn`` with these odds, or ``rounds``, in which lead-in and silent clips are as
            frequent as others.
        cold_start: share of samples whose reference is their own first frame.
        lead_in: share of samples that are lead-in clips; they are always cold starts.
        silence: relative frequency of a clip without speech to one with only speech, minus 1.
    """

    order: Order = "drawn"
    cold_start: float = 0.15
    lead_in: float = 0.08
    silence: float = 0.5


class Stage1Sampler:
    """Selects batches of clips.

    Args:
        caches: one per bucket.
        odds: of the clips.
        spec: spec of the stream.
        batch: B, of all ranks together.
        seed: of rounds and their references.
    """

    def __init__(
        self,
        caches: Sequence[BucketCache],
        odds: ClipOdds,
        spec: StreamSpec,
        *,
        batch: int,
        seed: int = 0,
    ) -> None:
        self.caches, self.spec, self.size, self.seed = caches, spec, batch, seed
        self._rounds: BucketOrder[int] | None = None
        self._good = [_rows_of(cache.clips, cache.good_U) for cache in caches]
        if odds.order == "rounds":
            counts = {bucket: len(good_N) for bucket, good_N in enumerate(self._good)}
            self._rounds = BucketOrder(counts, batch, seed)
        self._lead_in = [cache.clips.start_N < 0 for cache in caches]
        self._lead_in_share = []
        for lead_in_N in self._lead_in:
            drawn = odds.lead_in if lead_in_N.any() else 0.0
            self._lead_in_share.append(drawn if self._rounds is None else float(lead_in_N.mean()))
        self._odds = [self._odds_of(bucket, odds.silence) for bucket in range(len(caches))]
        self._cold_start = odds.cold_start
        self._windows_TW = _windows(spec)

    def _odds_of(self, bucket: int, silence: float) -> DoubleArray:
        """Returns the odds of each row of a bucket, [N]; 0 for unreadable shots."""
        cache, lead_in_N = self.caches[bucket].clips, self._lead_in[bucket]
        weight_N = np.zeros(len(cache))
        good_N = self._good[bucket]
        weight_N[good_N] = 1.0 + silence * cache.arrays["silent"][good_N].astype(np.float64)
        lead_in = self._lead_in_share[bucket]
        for kind_N, share in ((lead_in_N, lead_in), (~lead_in_N, 1.0 - lead_in)):
            weight_N[kind_N] *= share / max(weight_N[kind_N].sum(), 1e-9)
        odds_N: DoubleArray = weight_N / weight_N.sum()
        return odds_N

    def pick(self, number: int, rng: np.random.Generator) -> Picks:
        """Returns the clips of global batch ``number``, with references.

        Args:
            number: number of the batch, from 0; determines the samples of rounds.
            rng: same state on every rank; determines drawn samples.
        """
        if self._rounds is not None:
            drawn = self._rounds.at(number)
            row_B = self._good[drawn.bucket][drawn.row_B]
            rng = np.random.default_rng([self.seed, number])
            return self._with_references(drawn.bucket, row_B, rng)
        bucket = _drawn_bucket([len(good_N) for good_N in self._good], rng)
        odds_N = self._odds[bucket]
        row_B = rng.choice(len(odds_N), size=self.size, p=odds_N)
        return self._with_references(bucket, row_B, rng)

    def _with_references(self, bucket: int, row_B: IntArray, rng: np.random.Generator) -> Picks:
        lead_in = self._lead_in_share[bucket]
        elsewhere = max(0.0, self._cold_start - lead_in) / (1.0 - lead_in)
        cold_B = self._lead_in[bucket][row_B] | (rng.random(len(row_B)) < elsewhere)
        clips, references = self.caches[bucket].clips, []
        for row, is_cold in zip(row_B.tolist(), cold_B, strict=True):
            if is_cold:
                references.append(row)
            else:
                first = int(clips.arrays["start"][row])
                references.append(_reference(clips, row // clips.per_shot, first, self.spec, rng))
        return Picks(bucket, row_B, np.asarray(references), cold_B)

    def batch(self, picks: Picks) -> Stage1Batch:
        """Loads the clips from the cache."""
        cache, row_B, reference_B = self.caches[picks.bucket], picks.row_B, picks.reference_B
        clips = cache.clips
        shots = [cache.shots[row // clips.per_shot] for row in row_B.tolist()]
        starts = clips.arrays["start"][row_B].tolist()
        frames = [
            shot.first + clip_frames(start, self.spec)
            for shot, start in zip(shots, starts, strict=True)
        ]
        return Stage1Batch(
            z_BCFHW=clips.tensor("latents", row_B),
            reference_BCFHW=clips.tensor("reference", reference_B),
            image_BND=clips.tensor("tokens", reference_B),
            speech_BTWLD=self.speech(picks),
            cold_B=picks.cold_B,
            video_B=np.asarray([shot.video for shot in shots]),
            frame_BT=np.stack(frames),
        )

    def speech(self, picks: Picks) -> Tensor:
        """Returns audio windows of the clips alone, [B, T, W, L, D]."""
        cached = self.caches[picks.bucket].clips.tensor("speech", picks.row_B)
        return cached[:, self._windows_TW]


class Stage2Sampler:
    """Selects batches of stretches with portraits.

    Args:
        caches: one per bucket, with stretches.
        spec: spec of the stream.
        batch: B, of all ranks together.
        order: of the shots; positions inside them are always drawn.
        seed: of rounds, their positions and references.

    Raises:
        InputError: caches without stretches.
    """

    def __init__(
        self,
        caches: Sequence[BucketCache],
        spec: StreamSpec,
        *,
        batch: int,
        order: Order = "rounds",
        seed: int = 0,
    ) -> None:
        self.caches, self.spec, self.size, self.seed = caches, spec, batch, seed
        self._stretches: list[CachedRows] = []
        for cache in caches:
            if cache.stretches is None:
                raise InputError("caches", cache.size_hw, "must be built with a plan of stretches")
            self._stretches.append(cache.stretches)
        self._rounds: BucketOrder[int] | None = None
        if order == "rounds":
            counts = {bucket: len(cache.good_U) for bucket, cache in enumerate(caches)}
            self._rounds = BucketOrder(counts, batch, seed)
        self._windows_TW = _windows(spec)

    def draw(
        self,
        number: int,
        chunks: int,
        rng: np.random.Generator,
        *,
        beginning: Beginning,
        mine: slice = slice(None),
    ) -> Stage2Batch:
        """Returns the first ``chunks`` chunks of the stretches of global batch ``number``.

        Args:
            number: number of the batch, from 0; determines the shots of rounds.
            chunks: number of chunks of the rollout.
            rng: same state on every rank; determines drawn samples.
            beginning: whether they begin streams: all, none, or per sample.
            mine: the rows to load.
        """
        if self._rounds is not None:
            drawn = self._rounds.at(number)
            bucket, shot_B = drawn.bucket, self.caches[drawn.bucket].good_U[drawn.row_B]
            rng = np.random.default_rng([self.seed, number])
        else:
            bucket = _drawn_bucket([len(cache.good_U) for cache in self.caches], rng)
            good_U = self.caches[bucket].good_U
            shot_B = good_U[rng.integers(0, len(good_U), self.size)]
        cache, stretches = self.caches[bucket], self._stretches[bucket]
        begins_B = np.broadcast_to(np.asarray(beginning, dtype=bool), (self.size,))
        place_B = np.zeros(self.size, np.int64)
        if not begins_B.all():
            place_B = np.where(begins_B, 0, rng.integers(1, stretches.per_shot, self.size))
        row_B = shot_B * stretches.per_shot + place_B
        reference_B = np.asarray(
            [
                self._portrait(cache.clips, shot, int(stretches.arrays["start"][row]), rng)
                for shot, row in zip(shot_B.tolist(), row_B.tolist(), strict=True)
            ]
        )[mine]
        row_B = row_B[mine]
        reference = cache.clips.tensor("reference", reference_B)
        motion = stretches.chunks("motion", row_B, chunks)
        first, held_B = reference[:, :, :1], torch.ones(len(row_B), dtype=torch.int64)
        # Of the whole batch, so that shapes are equal on all ranks.
        if not begins_B.all():
            first, held_B = _continued(first, motion[:, 0], begins_B[mine])
        return Stage2Batch(
            reference_BCFHW=reference,
            image_BND=cache.clips.tensor("tokens", reference_B),
            speech_BKTWLD=stretches.chunks("speech", row_B, chunks)[:, :, self._windows_TW],
            motion_BCMHW=first,
            true_motion_BKCMHW=motion,
            video_B=cache.videos_of(shot_B[mine]),
            held_B=held_B,
        )

    def _portrait(self, clips: CachedRows, shot: int, first: int, rng: np.random.Generator) -> int:
        """Row of the clips whose first frame is the portrait of a stretch."""
        if first >= 0:
            return _reference(clips, shot, first, self.spec, rng)
        # A beginning continues its own portrait, the first frame of the shot.
        choices = np.flatnonzero(np.maximum(clips.starts_of(shot), 0) == 0)
        return shot * clips.per_shot + int(rng.choice(choices))


def _continued(
    portrait_BC1HW: Tensor, motion_BCMHW: Tensor, begins_B: BoolArray
) -> tuple[Tensor, Tensor]:
    """Returns the motion latents of first chunks, and the number of valid ones."""
    count = motion_BCMHW.shape[2]
    begins = torch.from_numpy(begins_B.copy())
    padded = torch.nn.functional.pad(portrait_BC1HW, (0, 0, 0, 0, 0, count - 1))
    first = torch.where(begins[:, None, None, None, None], padded, motion_BCMHW)
    return first, torch.where(begins, 1, count)


def _reference(
    clips: CachedRows, shot: int, first: int, spec: StreamSpec, rng: np.random.Generator
) -> int:
    """Returns a row of a clip of the shot whose first frame is outside the chunk at ``first``."""
    choices = references_outside(clips.starts_of(shot), first, spec)
    return shot * clips.per_shot + int(rng.choice(choices))


def _rows_of(rows: CachedRows, shot_U: IntArray) -> IntArray:
    """All rows of some shots, in order."""
    return (shot_U[:, None] * rows.per_shot + np.arange(rows.per_shot)).reshape(-1)


def _drawn_bucket(counts: Sequence[int], rng: np.random.Generator) -> int:
    """Draws a bucket in proportion to its samples; without a draw if there is one bucket."""
    if len(counts) == 1:
        return 0
    return int(rng.choice(len(counts), p=np.asarray(counts) / sum(counts)))


def _windows(spec: StreamSpec) -> Tensor:
    """Returns the rows of cached speech for the windows of a chunk, [T, W]."""
    total = spec.feature_rows
    first = total - spec.chunk_frames
    return torch.from_numpy(window_indices(first, total, total, spec.audio_window))
