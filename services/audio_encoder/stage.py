"""What the audio encoder computes.

Legend: S samples, R rows, L layers, D width.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from flashtalk.engine import AudioEncoder, Checkpoint
from flashtalk.serving import metrics
from flashtalk.streaming import Pcm
from services.audio_encoder.batching import Rows
from services.compute_worker import MeasureChunk


class AudioStage:
    """Speech features (a ``services.compute_worker`` stage).

    Args:
        batch_windows: windows of sound per batch.
    """

    role = "audio_encoder"

    def __init__(self, batch_windows: int) -> None:
        self.batch_windows = batch_windows
        self._encoder: AudioEncoder | None = None

    def load(self, checkpoint: Checkpoint, digest: str) -> None:
        """See ``Stage``."""
        self._encoder = checkpoint.load_audio()

    def warm_up(self, size_hw: tuple[int, int]) -> MeasureChunk:
        """See ``Stage``; the size of the video does not matter to speech."""
        spec = self._loaded.spec
        noise_S = np.random.default_rng(0).normal(0, 0.1, spec.window_samples).astype(np.float32)

        def chunk() -> float:
            begun_s = time.perf_counter()
            self.encode([noise_S])
            return time.perf_counter() - begun_s

        chunk()
        return chunk

    def encode(self, windows: Sequence[Pcm]) -> list[Rows]:
        """Features of several windows, float32 [R, L, D] each."""
        begun_s = time.perf_counter()
        rows = self._loaded.batch_rows(windows, self.batch_windows)
        arrays = [rows_RLD.float().cpu().numpy() for rows_RLD in rows]
        metrics.WORKER_STAGE_SECONDS.labels("audio").observe(time.perf_counter() - begun_s)
        return arrays

    @property
    def _loaded(self) -> AudioEncoder:
        if self._encoder is None:
            raise RuntimeError("used before it was loaded")
        return self._encoder
