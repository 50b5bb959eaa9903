"""Weight files: reading (read.py, config_file.py), finding (layout.py), merging (merge.py) and
building models (build.py)."""

from flashtalk.models.checkpoint.build import build, check_state, on_meta
from flashtalk.models.checkpoint.config_file import read_config, save_config
from flashtalk.models.checkpoint.flashhead_layout import (
    FlashHeadLayout,
    Variant,
    find_flashhead,
)
from flashtalk.models.checkpoint.layout import (
    CONFIG,
    OWN_FOLDERS,
    CheckpointLayout,
    find_checkpoint,
)
from flashtalk.models.checkpoint.merge import Merged, OverlayEffect, merge, read_overlay
from flashtalk.models.checkpoint.read import load_state

__all__ = [
    "CONFIG",
    "OWN_FOLDERS",
    "CheckpointLayout",
    "FlashHeadLayout",
    "Merged",
    "OverlayEffect",
    "Variant",
    "build",
    "check_state",
    "find_checkpoint",
    "find_flashhead",
    "load_state",
    "merge",
    "on_meta",
    "read_config",
    "read_overlay",
    "save_config",
]
