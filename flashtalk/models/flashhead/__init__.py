"""The smaller audio-driven video transformer for heads and shoulders; see model.py."""

from flashtalk.models.flashhead.config import FlashHeadConfig
from flashtalk.models.flashhead.model import FlashHead

__all__ = ["FlashHead", "FlashHeadConfig"]
