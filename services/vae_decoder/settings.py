"""Settings of the VAE decoder, read once from FLASHTALK_VAE_DECODER_... by ``__main__``."""

from __future__ import annotations

from pydantic import Field

from flashtalk.serving.settings import settings_config
from services.pod.settings import PodSettings


class VaeDecoderSettings(PodSettings):
    """All settings of the VAE decoder."""

    model_config = settings_config("FLASHTALK_VAE_DECODER_")

    port: int = Field(default=50053, ge=0, le=65_535, description="port; 0: a free port")
    metrics_port: int = Field(
        default=9103, ge=0, le=65_535, description="port of the metrics page; 0: none"
    )
    grid: str = Field(
        default="",
        description="grid of the ranks, ROWSxCOLUMNS; empty: the grid that exchanges least",
    )
