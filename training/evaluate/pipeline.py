"""A loaded pipeline as a performer: the same ``talk()`` that ``flashtalk generate`` uses.

Legend: T frames, H W pixels, N audio samples at 16 kHz.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flashtalk.engine.load import Pipeline, load_pipeline
from flashtalk.engine.talk import talk
from training.evaluate.fidelity import Image, Video
from training.evaluate.round_trip import through_vae

PACKET_SAMPLES = 3_200  # 200 ms: small enough that the stream's own chunking is what is judged


@dataclass(frozen=True)
class TalkPerformer:
    """Performs through ``talk()``; ``device`` and ``dtype`` are the pipeline's own."""

    pipeline: Pipeline
    device: torch.device
    dtype: torch.dtype

    def perform(
        self, portrait_HWC: Image, pcm_N: NDArray[np.float32], *, prompt: str, seed: int
    ) -> Video:
        """One frame per 640 samples, uint8 [T, H, W, 3]."""
        chunks = talk(self.pipeline, np.ascontiguousarray(portrait_HWC), packets(pcm_N),
                      prompt=prompt, seed=seed)  # fmt: skip
        return np.concatenate([chunk.frames_THWC for chunk in chunks])

    def through_codec(self, video_THWC: Video) -> Video:
        """See ``round_trip.through_vae``."""
        vae = self.pipeline.codec.vae
        return through_vae(vae, video_THWC, device=self.device, dtype=self.dtype)


def packets(pcm_N: NDArray[np.float32], samples: int = PACKET_SAMPLES) -> Iterator[
    NDArray[np.float32]
]:  # fmt: skip
    """The speech as it would arrive."""
    for start in range(0, len(pcm_N), samples):
        yield pcm_N[start : start + samples]


def open_pipeline(preset: str, folder: Path, *, device: str, dtype: str) -> TalkPerformer:
    """Load a preset's weights; ``dtype`` is ``float32`` or ``bfloat16``. Raises WeightsError."""
    place, kind = (
        torch.device(device),
        {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype],
    )
    return TalkPerformer(load_pipeline(preset, folder, place, kind), place, kind)
