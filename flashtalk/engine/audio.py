"""Speech conditioning: features of the newest 8 s, and windows of them for the chunk's frames.

A chunk needs 35 of the 200 rows of features: its 33 frames and the two before them. Only these rows
leave the encoder's process; the windows are built in the process that uses them.

Legend: B batch (1), N windows of sound, S samples, T video frames, R rows (35), W window,
L encoder layers, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.models.wav2vec2.loudness import prepare_pcm
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.streaming import Pcm, StreamSpec, chunk_window_indices


def windows_from_rows(rows_RLD: Tensor, spec: StreamSpec) -> Tensor:
    """Returns a window of the newest feature rows around each frame.

    Args:
        rows_RLD: [35, L, D]; of more rows, the last ones are the chunk's.
        spec: spec of the stream.

    Returns:
        [1, 33, W, L, D].

    Raises:
        InputError: too few rows.
    """
    needed = spec.feature_rows
    if rows_RLD.ndim != 3 or rows_RLD.shape[0] < needed:
        limit = f"[at least {needed} rows, layers, width]"
        raise InputError("features", list(rows_RLD.shape), limit)
    first = spec.window_s * spec.fps - rows_RLD.shape[0]
    indices_TW = torch.from_numpy(chunk_window_indices(spec) - first)
    return rows_RLD[indices_TW.to(rows_RLD.device)][None]


class AudioEncoder:
    """Computes the speech features of a chunk (report section 3.1). Stateless.

    Args:
        model: the speech encoder, in evaluation mode on its device.
        spec: spec of the stream.
        loudness: whether sound is brought to -23 LUFS first.
    """

    def __init__(self, model: Wav2Vec2Features, spec: StreamSpec, *, loudness: bool = True) -> None:
        self.model = model
        self.spec = spec
        self._loudness = loudness

    @torch.inference_mode()
    def features(self, pcm_S: Pcm) -> Tensor:
        """Returns the features of the whole window.

        Args:
            pcm_S: float32 [128000] ending at the chunk's end (``Position.window``).

        Returns:
            [200, L, D] float32, one row per video frame.

        Raises:
            InputError: a wrong length, or samples that are not finite.
        """
        features_TLD: Tensor = self._encode(self._prepared(pcm_S)[None])[0]
        return features_TLD

    def chunk_rows(self, features_TLD: Tensor) -> Tensor:
        """Selects the rows of a chunk: [200, L, D] to [35, L, D]."""
        return features_TLD[-self.spec.feature_rows :]

    @torch.inference_mode()
    def batch_rows(self, windows: Sequence[Pcm], batch_size: int) -> list[Tensor]:
        """Returns the rows of several chunks; each is independent of the others.

        On a GPU the windows run in batches of exactly ``batch_size``, padded with silence: the
        kernels are always the same, so no row depends on the other windows. On a CPU a batch is no
        faster and would change the bits; there each window runs separately.

        Args:
            windows: float32 [128000] each, as ``features`` takes them.
            batch_size: windows per batch on a GPU, at least 1.

        Returns:
            [35, L, D] float32 per window.

        Raises:
            InputError: as ``features``, for the first invalid window.
        """
        if self._device.type == "cpu":
            return [self.chunk_rows(self.features(pcm_S)) for pcm_S in windows]
        prepared = [self._prepared(pcm_S) for pcm_S in windows]
        rows: list[Tensor] = []
        for start in range(0, len(prepared), batch_size):
            part = prepared[start : start + batch_size]
            silence = [np.zeros(self.spec.window_samples, np.float32)] * (batch_size - len(part))
            features_NTLD = self._encode(np.stack([*part, *silence]))
            rows += [self.chunk_rows(features_NTLD[index]) for index in range(len(part))]
        return rows

    @torch.inference_mode()
    def windows(self, features_TLD: Tensor) -> Tensor:
        """Windows of the last 33 frames: [200, L, D] to [1, 33, W, L, D]."""
        return self.windows_from_rows(self.chunk_rows(features_TLD))

    @torch.inference_mode()
    def windows_from_rows(self, rows_RLD: Tensor) -> Tensor:
        """Windows of a chunk's rows: [35, L, D] to [1, 33, W, L, D]."""
        return windows_from_rows(rows_RLD, self.spec)

    def encode(self, pcm_S: Pcm) -> Tensor:
        """Sound to windows: [128000] to [1, 33, W, L, D]. Errors as ``features``."""
        return self.windows(self.features(pcm_S))

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _prepared(self, pcm_S: Pcm) -> Pcm:
        if pcm_S.shape != (self.spec.window_samples,):
            raise InputError("pcm", list(pcm_S.shape), f"{self.spec.window_samples} samples")
        return prepare_pcm(pcm_S, self.spec.pcm_hz, loudness=self._loudness).astype(np.float32)

    def _encode(self, prepared_NS: Pcm) -> Tensor:
        """[N, 128000] prepared samples to [N, 200, L, D]."""
        waveform_NS = torch.from_numpy(prepared_NS).to(next(self.model.parameters()))
        features_NTLD: Tensor = self.model(waveform_NS, self.spec.window_s * self.spec.fps)
        return features_NTLD.float()
