"""Batches of Stage 1: clips, references and speech windows drawn from a cache.

Legend: B batch, N clips, C latent channels, F latent frames, h w latent size, M image tokens,
D width, T frames of a clip (33), W window (5), L layers.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashtalk.streaming.spec import StreamSpec
from flashtalk.streaming.windows import window_indices
from training.data.stage1_cache import Stage1Cache
from training.data.stage1_clips import reference_choices


@dataclass(frozen=True)
class Stage1Batch:
    """What one step needs from the cache, float32.

    ``z_BCFHW`` clip latents, ``reference_BCFHW`` conditioning latents, ``clip_BMD`` image tokens,
    ``speech_BTWLD`` audio windows, ``cold_B`` bool (the reference is the clip's first frame),
    ``utterance_B`` int64, ``clip_B`` int64 rows of the cache.
    """

    z_BCFHW: Tensor
    reference_BCFHW: Tensor
    clip_BMD: Tensor
    speech_BTWLD: Tensor
    cold_B: npt.NDArray[np.bool_]
    utterance_B: npt.NDArray[np.int64]
    clip_B: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stage1Picks:
    """Rows of the cache that make a batch: int64 clips and references, bool ``cold_B``."""

    clip_B: npt.NDArray[np.int64]
    reference_B: npt.NDArray[np.int64]
    cold_B: npt.NDArray[np.bool_]

    def rows(self, mine: slice) -> "Stage1Picks":
        """A part of them."""
        return Stage1Picks(self.clip_B[mine], self.reference_B[mine], self.cold_B[mine])


@dataclass(frozen=True)
class ClipOdds:
    """How often kinds of clips are drawn.

    Args:
        cold_start: share of samples whose reference is their own first frame (training.md 1.1, 5).
        lead_in: share of samples that are lead-in clips; they are cold starts by nature.
        silence: how many times as likely a clip without any speech is as one full of it, minus 1.
    """

    cold_start: float = 0.15
    lead_in: float = 0.08
    silence: float = 0.5


class Stage1Sampler:
    """Draws batches; all randomness comes from the generator of the call."""

    def __init__(self, cache: Stage1Cache, odds: ClipOdds, spec: StreamSpec) -> None:
        self.cache = cache
        self.spec = spec
        start_N = np.asarray(cache.arrays["start"]).astype(np.int64)
        silent_N = np.asarray(cache.arrays["silent"]).astype(np.float64)
        self._lead_in_N = start_N < 0
        weight_N = 1.0 + odds.silence * silent_N
        lead_in = odds.lead_in if self._lead_in_N.any() else 0.0
        for kind_N, share in ((self._lead_in_N, lead_in), (~self._lead_in_N, 1.0 - lead_in)):
            weight_N[kind_N] *= share / max(weight_N[kind_N].sum(), 1e-9)
        self._odds_N = weight_N / weight_N.sum()
        self._cold_elsewhere = max(0.0, odds.cold_start - lead_in) / (1.0 - lead_in)
        total = spec.feature_rows
        rows_TW = window_indices(total - spec.chunk_frames, total, total, spec.audio_window)
        self._windows_TW = torch.from_numpy(rows_TW)

    def draw(self, size: int, rng: np.random.Generator) -> Stage1Batch:
        """A batch of ``size`` clips."""
        return self.batch(self.pick(size, rng))

    def pick(self, size: int, rng: np.random.Generator) -> Stage1Picks:
        """Which clips make a batch of ``size``, with which references."""
        return self.pick_for(rng.choice(len(self.cache), size=size, p=self._odds_N), rng)

    def pick_for(self, clips: npt.NDArray[np.int64], rng: np.random.Generator) -> Stage1Picks:
        """Given clips, with references drawn for them."""
        cold = self._lead_in_N[clips] | (rng.random(len(clips)) < self._cold_elsewhere)
        references = [
            int(clip) if is_cold else self._reference(int(clip), rng)
            for clip, is_cold in zip(clips, cold, strict=True)
        ]
        return Stage1Picks(clips, np.asarray(references), cold)

    def batch(self, picks: Stage1Picks) -> Stage1Batch:
        """What the cache says of them."""
        cache, clips, references, cold = self.cache, picks.clip_B, picks.reference_B, picks.cold_B
        return Stage1Batch(
            z_BCFHW=cache.tensor("latents", clips),
            reference_BCFHW=cache.tensor("reference", references),
            clip_BMD=cache.tensor("tokens", references),
            speech_BTWLD=cache.tensor("speech", clips)[:, self._windows_TW],
            cold_B=cold,
            utterance_B=np.asarray([cache.utterance_of(int(clip)) for clip in clips]),
            clip_B=np.asarray(clips, dtype=np.int64),
        )

    def _reference(self, clip: int, rng: np.random.Generator) -> int:
        size = self.cache.plan.per_utterance
        utterance, place = divmod(clip, size)
        choices = reference_choices(self.cache.starts_of(utterance), place, self.spec)
        return utterance * size + int(rng.choice(choices))
