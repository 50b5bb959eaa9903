"""Weight files: reading (read.py, config_file.py), finding (layout.py), building (build.py)."""

from flashtalk.models.checkpoint.build import build, check_state
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
from flashtalk.models.checkpoint.read import load_state

__all__ = [
    "CONFIG",
    "OWN_FOLDERS",
    "CheckpointLayout",
    "FlashHeadLayout",
    "Variant",
    "build",
    "check_state",
    "find_checkpoint",
    "find_flashhead",
    "load_state",
    "read_config",
    "save_config",
]
