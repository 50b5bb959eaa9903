"""The computation of the audio encoder.

Legend: S samples, R rows, L layers, D width.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from flashtalk.arrays import FloatArray
from flashtalk.engine import AudioEncoder
from flashtalk.serving import metrics
from flashtalk.streaming import Pcm, StreamSpec
from services.compute_worker import Loading, MeasureChunk


class AudioStage:
    """Speech features (a ``services.compute_worker`` stage).

    Args:
        encoder: the loaded network.
        batch_windows: maximum audio windows per batch.
    """

    def __init__(self, encoder: AudioEncoder, batch_windows: int) -> None:
        self._encoder, self._batch_windows = encoder, batch_windows

    def warm_up(self, size_hw: tuple[int, int]) -> MeasureChunk:
        """Encodes a window; returns the function that measures a chunk, independent of the size."""
        samples = self.spec.window_samples
        noise_S = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)

        def chunk() -> float:
            begun_s = time.perf_counter()
            self.encode([noise_S])
            return time.perf_counter() - begun_s

        chunk()
        return chunk

    @property
    def spec(self) -> StreamSpec:
        """The stream contract."""
        return self._encoder.spec

    def encode(self, windows: Sequence[Pcm]) -> list[FloatArray]:
        """Returns features of several windows, float32 [R, L, D] each."""
        begun_s = time.perf_counter()
        rows = self._encoder.batch_rows(windows, self._batch_windows)
        arrays = [rows_RLD.float().cpu().numpy() for rows_RLD in rows]
        metrics.WORKER_STAGE_SECONDS.labels("audio").observe(time.perf_counter() - begun_s)
        return arrays


def loading(batch_windows: int) -> Loading[AudioStage]:
    """Returns the stage of a worker with this maximum batch size."""
    return Loading(
        "audio_encoder", lambda checkpoint, _: AudioStage(checkpoint.load_audio(), batch_windows)
    )
