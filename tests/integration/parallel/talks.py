"""A whole talk on ranks; importable, so that it can be sent there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flashtalk.engine import Pipeline, load_pipeline, talk
from flashtalk.parallel import Grid, Layout, apply
from tests.fakes.weights import micro_pipeline
from tests.integration.parallel.networks import mesh_of
from tests.integration.parallel.pictures import mesh_of as picture_mesh_of

PORTRAIT = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def talk_frames(
    layout: Layout | None,
    grid: Grid | None,
    weights: Path | None,
    portrait_HWC: npt.NDArray[np.uint8],
    chunks: int = 3,
) -> npt.NDArray[np.uint8]:
    """Frames of some chunks; ``None`` for layout and grid is one process, for weights the micro
    model."""
    pipeline = load_pipeline("tiny", weights, device="cpu") if weights else micro_pipeline()
    if layout is not None:
        apply(pipeline.denoiser.network, mesh_of(layout))
    if grid is not None:
        apply(pipeline.codec.vae, picture_mesh_of(grid))
    pcm = _speech(chunks * pipeline.spec.new_samples)
    return np.concatenate([chunk.frames_THWC for chunk in talk(pipeline, portrait_HWC, [pcm])])


def guided_frames(layout: Layout | None) -> npt.NDArray[np.uint8]:
    """The same with audio guidance, which doubles the batch."""
    pipeline: Pipeline = micro_pipeline()
    if layout is not None:
        apply(pipeline.denoiser.network, mesh_of(layout))
    sampling = dataclasses.replace(pipeline.sampling, audio_guidance=2.0)
    pcm = _speech(pipeline.spec.new_samples)
    return next(iter(talk(pipeline, PORTRAIT, [pcm], sampling=sampling))).frames_THWC


def _speech(samples: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(3)
    loudness = np.repeat(rng.uniform(0, 0.3, samples // 1_600 + 1), 1_600)[:samples]
    return (rng.standard_normal(samples) * loudness).astype(np.float32)
