"""Settings of the DiT worker, read once from FLASHTALK_DIT_WORKER_... by ``__main__``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flashtalk.serving.settings import settings_config
from services.pod.settings import PodSettings


class DitWorkerSettings(PodSettings):
    """All settings of the DiT worker."""

    model_config = settings_config("FLASHTALK_DIT_WORKER_")

    port: int = Field(default=50052, ge=0, le=65_535, description="port; 0: a free port")
    metrics_port: int = Field(
        default=9102, ge=0, le=65_535, description="port of the metrics page; 0: none"
    )
    conditioning_bytes: int = Field(
        default=2 * 2**30, ge=2**20, description="memory for cached portraits and prompts, bytes"
    )
    offload_encoders: bool = Field(
        default=False, description="keep umT5 and CLIP on the device only while they are used"
    )
    layout: str = Field(
        default="",
        description="layout of the ranks, ULYSSESxRING; empty: the layout that sends least",
    )
    backend: Literal["torch", "xfuser"] = Field(
        default="torch",
        description="attention across ranks: torch (collectives) or xfuser (kernels of xDiT)",
    )
