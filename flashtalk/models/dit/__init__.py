"""The audio-driven video transformer; see model.py."""

from flashtalk.models.dit.conditions import AudioKV, AudioTokens, ContextKV, ContextTokens
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT

__all__ = ["AudioKV", "AudioTokens", "ContextKV", "ContextTokens", "DiT", "DiTConfig"]
