"""Speech to what the network hears: features of the newest 8 s, windows of the chunk's frames.

Legend: B batch (1), S samples, T video frames, W window, L encoder layers, D width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.models.wav2vec2.loudness import prepare_pcm
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.streaming import Pcm, StreamSpec, chunk_window_indices


class AudioEncoder:
    """Speech features of a chunk (report section 3.1). Keeps nothing between two calls.

    Args:
        model: the speech encoder, in evaluation mode on its device.
        spec: the stream contract.
        window_width: features per video frame (``DiTConfig.audio_window``).
    """

    def __init__(self, model: Wav2Vec2Features, spec: StreamSpec, window_width: int = 5) -> None:
        self.model = model
        self.spec = spec
        self._rows_TW = torch.from_numpy(chunk_window_indices(spec, window_width))

    @torch.inference_mode()
    def features(self, pcm_S: Pcm) -> Tensor:
        """Features of the whole window.

        Args:
            pcm_S: float32 [128000] ending at the chunk's end (``AudioRing.window``).

        Returns:
            [200, L, D] float32, one row per video frame.

        Raises:
            InputError: another length, or samples that are not finite.
        """
        if pcm_S.shape != (self.spec.window_samples,):
            raise InputError("pcm", list(pcm_S.shape), f"{self.spec.window_samples} samples")
        prepared = prepare_pcm(pcm_S, self.spec.pcm_hz).astype(np.float32)
        device = next(self.model.parameters()).device
        waveform_BS = torch.from_numpy(prepared)[None].to(device)
        frames = self.spec.window_s * self.spec.fps
        features_TLD: Tensor = self.model(waveform_BS, frames)[0]
        return features_TLD

    @torch.inference_mode()
    def windows(self, features_TLD: Tensor) -> Tensor:
        """The last 33 frames, each with its neighbours: [200, L, D] to [1, 33, W, L, D]."""
        return features_TLD[self._rows_TW.to(features_TLD.device)][None]

    def encode(self, pcm_S: Pcm) -> Tensor:
        """Sound to windows: [128000] to [1, 33, W, L, D]. Errors as ``features``."""
        return self.windows(self.features(pcm_S))
