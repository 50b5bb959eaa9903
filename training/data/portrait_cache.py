"""What Stage 2 needs of Stage 1's clips: portraits. No clip is encoded, and no speech, for them.

Legend: N clips, C latent channels, F latent frames, h w latent size, M image tokens, D width.

``reference`` [N, C, F, h, w], ``tokens`` [N, M, D] and ``start`` [N], as in Stage 1's cache.
"""

from __future__ import annotations

from pathlib import Path

import torch

from flashtalk.diffusion.condition import reference_clip
from flashtalk.streaming.spec import StreamSpec
from training.data.array_store import Array, Shape, fill_store, finished, half, open_store
from training.data.clips import video_from_frames
from training.data.stage1_cache import Encoders, Stage1Cache, stage1_folder
from training.data.stage1_clips import ClipPlan, clip_starts
from training.data.synthtalk import SynthTalk

PORTRAIT_NAMES = ("reference", "tokens", "start")


@torch.no_grad()
def build_portraits(
    source: SynthTalk, encoders: Encoders, plan: ClipPlan, cache_dir: Path, spec: StreamSpec
) -> Stage1Cache:
    """First frames of all clips of a split, encoded; where Stage 1 has left its cache, from there.

    Returns:
        A cache with the arrays ``PORTRAIT_NAMES``.
    """
    whole = stage1_folder(source, encoders, plan, cache_dir)
    if finished(whole):
        return Stage1Cache(open_store(whole, PORTRAIT_NAMES), plan)
    arrays = fill_store(
        whole.with_name(whole.name.replace("stage1-", "portraits-", 1)),
        Shape(PORTRAIT_NAMES, len(source), plan.per_utterance),
        lambda utterance: _encode(source, encoders, plan, utterance, spec),
        f"encode portraits of {source.config.split}",
    )
    return Stage1Cache(arrays, plan)


def _encode(
    source: SynthTalk, encoders: Encoders, plan: ClipPlan, utterance: int, spec: StreamSpec
) -> dict[str, Array]:
    """The portraits of one utterance; clips that begin with the same frame share theirs."""
    starts = clip_starts(plan, utterance, source.config.frames, spec)
    firsts = starts.clip(min=0)
    rows = sorted(set(firsts.tolist()))
    frames = source.clip(utterance, 0, source.config.frames).frames[rows]
    images = torch.cat([video_from_frames(frame[None]) for frame in frames])[:, :, 0]
    reference = half(encoders.video(reference_clip(images, spec.chunk_frames)))
    tokens = half(encoders.image(images))
    places = [rows.index(first) for first in firsts.tolist()]
    return {"reference": reference[places], "tokens": tokens[places], "start": starts}
