"""Settings of the VAE decoder, read once from FLASHTALK_VAE_DECODER_... by ``__main__``."""

from __future__ import annotations

from pydantic import Field

from flashtalk.serving.settings import settings_config
from services.pod.settings import PodSettings


class VaeDecoderSettings(PodSettings):
    """All settings of the VAE decoder."""

    model_config = settings_config("FLASHTALK_VAE_DECODER_")

    port: int = Field(default=50053, ge=0, le=65_535, description="0 takes a free one")
    metrics_port: int = Field(default=9103, ge=0, le=65_535, description="0 opens none")
    grid: str = Field(
        default="", description="of a pod's ranks, ROWSxCOLUMNS; empty: the least to exchange"
    )
