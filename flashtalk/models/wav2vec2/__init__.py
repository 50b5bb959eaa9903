"""The speech encoder; see model.py."""

from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.models.wav2vec2.loudness import feature_frames, prepare_pcm
from flashtalk.models.wav2vec2.model import Wav2Vec2Features

__all__ = ["AudioConfig", "Wav2Vec2Features", "feature_frames", "prepare_pcm"]
