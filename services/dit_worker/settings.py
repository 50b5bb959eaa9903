"""Settings of the DiT worker, read once from FLASHTALK_DIT_WORKER_... by ``__main__``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flashtalk.serving.settings import settings_config
from services.pod.settings import PodSettings


class DitWorkerSettings(PodSettings):
    """All settings of the DiT worker."""

    model_config = settings_config("FLASHTALK_DIT_WORKER_")

    port: int = Field(default=50052, ge=0, le=65_535, description="0 takes a free one")
    metrics_port: int = Field(default=9102, ge=0, le=65_535, description="0 opens none")
    conditioning_bytes: int = Field(
        default=2 * 2**30, ge=2**20, description="memory for portraits and prompts that are kept"
    )
    offload_encoders: bool = Field(
        default=False, description="umT5 and CLIP are on the device only while they are used"
    )
    layout: str = Field(
        default="", description="of a pod's ranks, ULYSSESxRING; empty: the least to send"
    )
    backend: Literal["torch", "xfuser"] = Field(
        default="torch", description="of a pod's attention: torch collectives or xDiT's kernels"
    )
