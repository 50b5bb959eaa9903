"""The image encoder; see model.py."""

from flashtalk.models.clip.config import ClipConfig
from flashtalk.models.clip.model import ClipVision

__all__ = ["ClipConfig", "ClipVision"]
